"""Evaluation end to end on real files: figures as published, readings kept, mistakes in one sentence."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

for needed in ("lmdb", "onnx", "onnxruntime"):
    pytest.importorskip(needed)
from model_store.pixels import crops_to_lr, resize  # noqa: E402
from tests.training.enlarger import write_enlarger  # noqa: E402
from training import __main__ as command_line  # noqa: E402
from training import ocr, readings  # noqa: E402
from training.data.lmdb_writer import LmdbWriter  # noqa: E402
from training.errors import UnreadableCheckpoint  # noqa: E402
from training.metrics import SRMetric  # noqa: E402
from training.predictor import open_weights  # noqa: E402

Pair = tuple[np.ndarray, np.ndarray]  # lr (16, 64, 3), hr (32, 128, 3)


def pair(seed: int) -> Pair:
    rng = np.random.default_rng(seed)
    lr = rng.integers(0, 256, (16, 64, 3), np.uint8)
    hr = resize(lr, height=32, width=128).astype(int) + rng.integers(-30, 30, (32, 128, 3))
    return lr, hr.clip(0, 255).astype(np.uint8)


def store(folder: Path, pairs: Sequence[Pair], labels: Sequence[str] | None = None) -> Path:
    with LmdbWriter(folder, recipe="test") as writer:
        for i, (lr, hr) in enumerate(pairs):
            writer.add(labels[i] if labels else f"word{i}", hr=hr, lr=lr)
    return folder


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_enlarger(tmp_path / "enlarger.onnx")


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    folder = tmp_path / "crops"
    folder.mkdir()
    for i in range(5):
        height, width = 27 + 3 * i, 100 + 20 * i
        pixels = np.random.default_rng(i).integers(0, 256, (height // 3, width // 3, 3), np.uint8)
        Image.fromarray(resize(pixels, height=height, width=width)).save(folder / f"{i}.png")
    (folder / "labels.tsv").write_text("".join(f"{i}.png\tword{i}\n" for i in range(5)))
    return folder


@dataclass
class Echo:
    """A recogniser that reads a crop's brightness, and counts what it was shown."""

    name: str = "echo"
    version: str = "1"
    seen: int = 0
    until: float = float("inf")
    sizes: set[tuple[int, ...]] = field(default_factory=set)

    def read(self, crops: Sequence[np.ndarray]) -> list[str]:
        if self.seen >= self.until:
            raise KeyboardInterrupt
        self.seen += len(crops)
        self.sizes |= {crop.shape for crop in crops}
        return [str(int(crop.mean())) for crop in crops]


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    reader = Echo()
    monkeypatch.setitem(ocr.READERS, "echo", lambda: reader)
    return reader


def run(*arguments: object) -> int:
    return command_line.main(["evaluate", *map(str, arguments)])


def report(folder: Path) -> dict[str, Any]:
    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is not JSON")

    found: dict[str, Any] = json.loads((folder / "report.json").read_text(), parse_constant=refuse)
    return found


def metric(pairs: Sequence[Pair], batch_size: int) -> dict[str, float]:
    """SRMetric of nearest-neighbour enlargement, computed here from the definition of its batches."""
    found = SRMetric()
    for start in range(0, len(pairs), batch_size):
        chunk = pairs[start : start + batch_size]
        sr = np.stack([lr.repeat(2, 0).repeat(2, 1) for lr, _ in chunk]).transpose(0, 3, 1, 2) / 255
        hr = np.stack([hr for _, hr in chunk]).transpose(0, 3, 1, 2) / 255
        found.update(sr.astype(np.float32), hr.astype(np.float32))
    figures = found.result()
    return {"psnr_avg": figures.psnr_avg, "ssim_avg": figures.ssim_avg, "batches": figures.batches}


@pytest.mark.parametrize("batch_size", [3, 16])
def test_averages_are_over_batches_of_each_subset_and_of_all_joined(
    tmp_path: Path, network: Path, batch_size: int
) -> None:
    easy, hard = [pair(i) for i in range(4)], [pair(i) for i in range(4, 11)]
    store(tmp_path / "test" / "easy", easy)
    store(tmp_path / "test" / "hard", hard)
    out = tmp_path / "out"
    assert run("--weights", network, "--data", tmp_path / "test", "--out", out, "--batch-size", batch_size) == 0
    scores = {score["name"]: score for score in report(out)["scores"]}
    for name, pairs in (("easy", easy), ("hard", hard), ("all", easy + hard)):
        expected = metric(pairs, batch_size)
        assert {key: scores[name]["sr"][key] for key in expected} == pytest.approx(expected, abs=1e-6)
        assert scores[name]["crops"] == len(pairs)


@pytest.mark.slow
def test_figures_are_those_of_paddleocr(shared_dir: Path, tmp_path: Path) -> None:
    """PaddleOCR's weights on PaddleOCR's crops give PaddleOCR's SRMetric, bicubic's too, from files alone."""
    pytest.importorskip("paddle")
    kit = shared_dir / "parity"
    expected = json.loads((kit / "paddleocr_expected.json").read_text())
    with np.load(kit / "paddleocr_io.npz") as arrays:
        lr, hr = (np.rint(arrays[name] * 255).astype(np.uint8).transpose(0, 2, 3, 1) for name in ("lr", "hr"))
    data = store(tmp_path / "kit", list(zip(lr, hr, strict=True)), expected["labels"])
    for size, name in ((8, "metric_one_batch"), (3, "metric_batches_of_3")):
        out = tmp_path / f"out{size}"
        weights = kit / "paddleocr_tbsrn.pdparams"
        assert run("--weights", weights, "--data", data, "--out", out, "--batch-size", size) == 0
        (score,) = report(out)["scores"]
        assert score["sr"]["psnr_avg"] == pytest.approx(expected[name]["psnr_avg"], abs=1e-4)
        assert score["sr"]["ssim_avg"] == pytest.approx(expected[name]["ssim_avg"], abs=1e-4)
        if size == 8:
            bicubic = expected["metric_bicubic_one_batch"]
            assert score["bicubic"]["psnr_avg"] == pytest.approx(bicubic["psnr_avg"], abs=1e-4)
            assert score["bicubic"]["ssim_avg"] == pytest.approx(bicubic["ssim_avg"], abs=1e-4)


def test_degrading_crops_gives_what_make_data_stores(tmp_path: Path, network: Path, crops: Path) -> None:
    assert command_line.main(["make-data", str(crops), str(tmp_path / "stored"), "--workers", "1"]) == 0
    for data, out in ((crops, "a"), (tmp_path / "stored", "b")):
        assert run("--weights", network, "--data", data, "--out", tmp_path / out) == 0
    (made,), (stored,) = (report(tmp_path / out)["scores"] for out in "ab")
    assert (made["sr"], made["bicubic"]) == (stored["sr"], stored["bicubic"])
    assert (made["crops"], made["too_low"]) == (4, 1)


def test_recognisers_see_8_bit_pictures_of_hr_size_and_their_words_are_counted(
    tmp_path: Path, network: Path, echo: Echo, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [pair(i) for i in range(3)]
    data = store(tmp_path / "set", pairs, [str(int(hr.mean())) for _, hr in pairs])
    assert run("--weights", network, "--data", data, "--out", tmp_path / "out", "--ocr", "echo") == 0
    assert echo.sizes == {(32, 128, 3)}
    text = report(tmp_path / "out")["scores"][0]["text"]["echo"]
    assert (text["hr"]["accuracy"], text["hr"]["words"]) == (1.0, 3)
    assert text["fixed"] - text["broken"] == text["sr"]["correct"] - text["bicubic"]["correct"]
    assert "100.0 (43.9-100.0)" in capsys.readouterr().out


def test_an_interrupted_evaluation_reads_only_what_is_left(
    tmp_path: Path,
    network: Path,
    echo: Echo,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(readings, "CHUNK", 2)
    data = store(tmp_path / "set", [pair(i) for i in range(5)])
    arguments = ("--weights", network, "--data", data, "--out", tmp_path / "out", "--ocr", "echo")
    echo.until = 6
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 130
    assert "interrupted" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.json").exists()
    kept, echo.until = echo.seen, float("inf")
    assert run(*arguments) == 0
    assert (kept, echo.seen) == (7, 15)  # the chunk of the last odd crop came before the interruption
    assert run(*arguments) == 0
    assert echo.seen == 15


def test_a_reading_cut_short_is_read_anew(tmp_path: Path) -> None:
    crop, reader = pair(0)[0], Echo()
    with readings.Readings(tmp_path / "readings.jsonl") as kept:
        first = kept.read(reader, [crop, crop], label="")
    assert (first, reader.seen) == ([str(int(crop.mean()))] * 2, 1)
    text = (tmp_path / "readings.jsonl").read_text()
    (tmp_path / "readings.jsonl").write_text(text[:-4])
    with readings.Readings(tmp_path / "readings.jsonl") as kept:
        assert kept.read(reader, [crop], label="") == first[:1]
    assert reader.seen == 2
    with readings.Readings(tmp_path / "readings.jsonl") as kept:
        assert kept.read(reader, [crop], label="") == first[:1]
    assert reader.seen == 2


def test_the_page_stands_alone_and_shows_labels_as_text(tmp_path: Path, network: Path, echo: Echo) -> None:
    pairs = [pair(i) for i in range(20)]
    data = store(tmp_path / "set", pairs, ['<b>"&', *(f"word{i}" for i in range(19))])
    run("--weights", network, "--data", data, "--out", tmp_path / "out", "--ocr", "echo")
    page = (tmp_path / "out" / "report.html").read_text()
    assert len(page) < 1_000_000  # of noise, which nothing compresses
    assert '<b>"' not in page
    assert page.count("<article") == 18  # worst, median, best; nothing was made readable or unreadable
    assert set(re.findall(r'(?:src|href)="?(\w+):', page)) == {"data"}


def test_pictures_equal_to_hr_leave_valid_json(tmp_path: Path, network: Path) -> None:
    flat = (np.full((16, 64, 3), 90, np.uint8), np.full((32, 128, 3), 90, np.uint8))
    data = store(tmp_path / "set", [flat])
    assert run("--weights", network, "--data", data, "--out", tmp_path / "out") == 0
    figures = report(tmp_path / "out")["scores"][0]["sr"]
    assert (figures["psnr_avg"], figures["identical"]) == (None, 1)


def test_unreadable_samples_are_counted(tmp_path: Path, network: Path, crops: Path) -> None:
    (crops / "4.png").write_bytes(b"no picture")
    assert run("--weights", network, "--data", crops, "--out", tmp_path / "out") == 0
    (score,) = report(tmp_path / "out")["scores"]
    assert (score["crops"], score["unreadable"], score["too_low"]) == (3, 1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--data": "nowhere"}, "nowhere does not exist"),
        ({"--data": "begun"}, "begun is half-written: only begun.partial is there"),
        ({"--data": "cut"}, "cut is half-written: data.mdb has"),
        ({"--data": "empty"}, "empty holds neither an LMDB"),
        ({"--data": "single"}, "single holds crops alone"),
        ({"--weights": "nowhere.safetensors"}, "nowhere.safetensors is not a file"),
        ({"--weights": "broken.onnx"}, "broken.onnx cannot be loaded"),
        ({"--weights": "same.onnx"}, "same.onnx is no super-resolution network"),
        ({"--weights": "tbsrn:99"}, "tbsrn:99 is neither a file nor a usable model of the store"),
        ({"--ocr": "abbyy"}, "no recogniser 'abbyy'"),
        ({"--preset": "foggy"}, "no degradation preset 'foggy'"),
        ({"--batch-size": "0"}, "--batch-size, --min-height and --limit must be positive"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(
    tmp_path: Path,
    network: Path,
    crops: Path,
    changes: dict[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_mistakes(tmp_path)
    options = {"--weights": str(network), "--data": str(crops), "--out": "out"} | changes
    assert run(*(word for option in options.items() for word in option)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def make_mistakes(folder: Path) -> None:
    (folder / "begun.partial").mkdir()
    (folder / "empty").mkdir()
    cut = store(folder / "cut", [pair(i) for i in range(3)]) / "data.mdb"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with LmdbWriter(folder / "single", recipe="test") as writer:
        writer.add("word", hr=pair(0)[1])
    (folder / "broken.onnx").write_bytes(b"no network")
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 16, 64]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "same", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "same.onnx")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_sr_is_found_behind_lr_in_what_paddleocr_exports(tmp_path: Path, engine: str) -> None:
    pytest.importorskip(engine)
    model = write_enlarger(tmp_path / "two.onnx", lr_too=True, height=8, width=32)
    predictor = open_weights(str(model), engine=engine)
    assert (predictor.spec.height, predictor.spec.width, predictor.spec.scale) == (8, 32, 2)
    lr = crops_to_lr([pair(0)[0]], predictor.spec)
    np.testing.assert_array_equal(predictor.run(lr), lr.repeat(2, 2).repeat(2, 3))


@pytest.mark.slow
def test_every_form_of_a_published_model_gives_the_same() -> None:
    for library in ("paddle", "openvino", "safetensors", "paddle2onnx"):
        pytest.importorskip(library)
    artefact = Path(__file__).parents[2] / "model_store" / "tbsrn" / "1"
    lr = np.random.default_rng(0).random((1, 3, 16, 64), np.float32)
    expected = open_weights("tbsrn:1", engine="onnxruntime").run(lr)
    checkpoint = str(artefact / "weights" / "checkpoint.safetensors")
    others = [
        ("tbsrn:1", "paddle"),
        (str(artefact), "auto"),
        (str(artefact / "paddle"), "auto"),
        (checkpoint, "auto"),
    ]
    for weights, engine in others:
        assert np.abs(open_weights(weights, engine=engine).run(lr) - expected).max() < 1e-4, weights


def test_a_checkpoint_of_another_architecture_is_named(tmp_path: Path) -> None:
    pytest.importorskip("paddle")
    from training.weights_file import write_described

    about = {"format": "text-telescope-checkpoint", "version": 1, "source": {}}
    architecture = {"height": 16, "width": 64, "blocks": 2, "hidden": 4}
    path = tmp_path / "other.safetensors"
    write_described(path, {"encoder.weight": np.zeros(3, np.float32)}, about | {"architecture": architecture})
    with pytest.raises(Exception, match=r"other\.safetensors does not fit the network: 1 unknown: encoder.weight"):
        open_weights(str(path))
    write_described(path, {}, about | {"architecture": {"layers": 12}})
    with pytest.raises(UnreadableCheckpoint, match="describes an impossible network"):
        open_weights(str(path))
