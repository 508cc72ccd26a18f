"""The figures of a report as a manifest lists them."""

from dataclasses import asdict

from training.metrics import SRFigures, TextFigures
from training.record import report_metrics
from training.scores import Score, TextScore


def test_every_figure_keeps_its_picture_data_and_command() -> None:
    def pixels(psnr: float | None) -> SRFigures:
        return SRFigures(psnr, 0.5, 20.0, 0.5, 1, 4, 0)  # type: ignore[arg-type]  # null in a report: equal pictures

    def read(correct: int) -> TextFigures:
        return TextFigures(4, correct, correct / 4, 0.0, 1.0, 0.1)

    text = {"tesseract": TextScore(hr=read(4), bicubic=read(2), sr=read(3), fixed=1, broken=0)}
    score = asdict(Score("easy", 4, pixels(20.0), pixels(None), text=text))
    report = {"scores": [score], "data": {"path": "data/TextZoom/test"}, "command": "evaluate ..."}
    found = report_metrics(report)
    assert {metric.name: metric.value for metric in found} == {
        "psnr_avg_bicubic": 20.0,
        "ssim_avg_bicubic": 0.5,
        "ssim_avg": 0.5,
        "tesseract_accuracy": 0.75,
        "tesseract_accuracy_bicubic": 0.5,
        "tesseract_accuracy_hr": 1.0,
    }
    assert {(metric.data, metric.command) for metric in found} == {("test, easy, 4 crops", "evaluate ...")}
