"""Figures of the published model, out of the reports that training left beside it: nothing is computed again.

model_store/tbsrn/3/evaluation.json  -> quality at the trained size
model_store/tbsrn/3/report.json      -> largest difference of each exported form from the trained network
model_store/tbsrn/calibration-3.json -> the rules, and the limits of second opinions
docs/reports/ablation.csv            -> words read after each change of the training's recipe
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Mapping
from statistics import mean
from typing import Any

from bench.harness.options import MODEL, Options
from bench.harness.quotes import REPORTS
from bench.harness.report import Report, Table
from model_store.calibration import ANY, Rule, calibration_path
from model_store.store import ModelStore
from training.calibration.readers import READER_NAMES

OPTIONS: Options = MODEL
FORMS = {"paddle-inference": "Paddle Inference", "onnxruntime": "ONNX Runtime", "openvino-fp32": "OpenVINO fp32"}
RUNS = {
    "hr": "HR itself",
    "bicubic": "bicubic",
    "pixels": "MSE alone",
    "old-loss": "the loss of `tbsrn:2`: each reader's gradient normalised to length 1, after its weight",
    "weight": "the weight repaired, 0.03",
    "quantile": "+ clipped at the 75 % quantile instead of normalised",
    "grey-soft": "+ grey and softened by 0.7 px",
    "two-readers": "+ PP-OCRv4 in turns",
    "ctc": "+ the label where HR is misread",
    "windows": "+ canvases at any scale instead of stretched words",
    "weight-0.006": "the same with weight 0.006",
    "weight-0.15": "the same with weight 0.15",
}
Json = Mapping[str, Any]
Rows = Iterator[list[str]]


def measure(args: argparse.Namespace) -> Report:
    model = ModelStore(args.model_store).resolve(args.model)
    score, parity, calibration = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (model.path / "evaluation.json", model.path / "report.json", calibration_path(model))
    )
    whole = score["scores"][-1]
    by_reader = ("", *READER_NAMES.values())
    tables = {
        "quality": Table(
            f"{whole['crops']} degraded crops", ("", "bicubic", args.model, "HR"), [*_quality(whole)]
        ),
        "parity": Table("Largest difference from the trained network", [*FORMS.values()], [_differences(parity)]),
        "rules": Table(
            "Rules", ("", "rule", "points over all crops", "on words left out"), [*_rules(calibration)]
        ),
        "every_crop": Table("Every crop super-resolved: points over plain", by_reader, [_every_crop(calibration)]),
        "limits": Table(
            "Second opinions",
            ("", "below", "margin", "crops sent", "points over all crops", "on words left out"),
            [*_limits(calibration["second_opinions"])],
        ),
        "ablation": Table("Words read, %", ("", "PSNR, dB", *READER_NAMES.values()), [*_ablation()]),
    }
    figures = {"model": model.manifest.ref, "digest": model.digest, "command": score["command"]}
    return Report(figures, tables)


def _quality(score: Json) -> Rows:
    sides = (score["bicubic"], score["sr"])
    yield ["PSNR_Avg, SSIM_Avg", *(f"{side['psnr_avg']:.2f} dB, {side['ssim_avg']:.4f}" for side in sides), ""]
    for reader, name in READER_NAMES.items():
        text = score["text"][reader]
        cells = (
            f"{100 * text[side]['accuracy']:.1f} % ({100 * text[side]['low']:.1f}-{100 * text[side]['high']:.1f})"
            for side in ("bicubic", "sr")
        )
        yield [f"{name} reads", *cells, f"{100 * text['hr']['accuracy']:.1f} %"]


def _differences(report: Json) -> list[str]:
    measured = [report["parity"], *report["parity_by_size"].values()]
    return [f"{max(max(by_size[form].values()) for by_size in measured):.1e}" for form in FORMS]


def _rules(calibration: Json) -> Rows:
    points = calibration["points_over_plain"]
    for reader, name in {**READER_NAMES, ANY: "`any`"}.items():
        rule = Rule.from_json(calibration["rules"][reader])
        of = READER_NAMES if reader == ANY else [reader]
        ways = ("any", None) if reader == ANY else ("named", "named_cross_validated")
        cells = (", ".join(_points(points[way][one]) for one in of) if way else "" for way in ways)
        limits = f"blur {rule.min_blur:.1f} px and more, target {rule.target_blur} px, strength {rule.strength:g}"
        yield [name, limits, *cells]


def _every_crop(calibration: Json) -> list[str]:
    always = calibration["points_over_plain"]["always"]
    return ["at full strength", *(_points(always[reader]) for reader in READER_NAMES)]


def _limits(found: Json) -> Rows:
    for side, sent in found["sent"].items():
        reader, _, as_any = side.partition(" as ")
        limits = found["limits"][as_any or reader]
        points = (_points(found["points_over_plain"][way][side]) for way in ("chosen", "cross_validated"))
        name = f"`any`, read by {READER_NAMES[reader]}" if as_any else READER_NAMES[reader]
        yield [name, f"{limits['below']:g}", f"{limits['margin']:g}", f"{100 * sent:.0f} %", *points]


def _points(found: Json) -> str:
    return f"{found['points']:+.1f} ± {1.96 * found['error']:.1f}"


def _ablation() -> Rows:
    """Means over the four degradations of each run."""
    with (REPORTS / "ablation.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            decibels = [float(value) for name, value in row.items() if name.endswith(" dB") and value]
            read = ([100 * float(v) for n, v in row.items() if n.endswith(reader)] for reader in READER_NAMES)
            shown = f"{mean(decibels):.2f}" if decibels else ""
            yield [RUNS[row["run"]], shown, *(f"{mean(values):.1f}" for values in read)]
