"""Exported forms compute what was trained, and nothing else is published."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

paddle = pytest.importorskip("paddle")
onnx = pytest.importorskip("onnx")
for module in ("paddle2onnx", "onnxruntime", "openvino", "safetensors"):
    pytest.importorskip(module)

from model_store.manifest import PixelSpec  # noqa: E402 - after the skips
from model_store.store import ModelStore  # noqa: E402
from training import parity  # noqa: E402
from training.__main__ import main  # noqa: E402
from training.any_size import SIZES  # noqa: E402
from training.architecture import pixel_spec  # noqa: E402
from training.checkpoint import save_checkpoint  # noqa: E402
from training.convert import import_telescope  # noqa: E402
from training.errors import DataError, ExportError, ParityError  # noqa: E402
from training.export import clean_commit, export, other_sizes  # noqa: E402
from training.fold import FoldedTBSRN  # noqa: E402
from training.onnx_form import spell_softplus, write_onnx  # noqa: E402
from training.paddle_form import write_paddle  # noqa: E402
from training.published import read_published  # noqa: E402
from training.run_state import ROOT  # noqa: E402
from training.tbsrn import TBSRN  # noqa: E402

pytestmark = pytest.mark.slow  # every test reads an export


def lively(**changes: Any) -> TBSRN:
    """A small network in which no weight is at its neutral start, so that a lost one shows."""
    paddle.seed(3)
    network = TBSRN(**{"blocks": 2, "hidden": 4, "width": 32, **changes})
    for name, value in network.state_dict().items():
        spread = 0.3 if "bias" in name or name.endswith(("_mean", "b_2")) else 0.1
        value.set_value(value + spread * (paddle.rand(value.shape) - 0.5))
    network.eval()
    return network


SMALL_TILES = {"height": 8, "width": 16, "stn": False}  # what attention costs grows with their area


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 70, 3), np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")
    (folder / "labels.tsv").write_text("".join(f"{index}.png\tword\n" for index in range(3)))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, lively(blocks=1, **SMALL_TILES), source={"run": "test"})
    return path


@pytest.fixture(scope="module")
def evaluation(weights: Path, crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `evaluate` leaves for these weights."""
    out = tmp_path_factory.mktemp("evaluation") / "out"
    command = ["evaluate", "--weights", str(weights), "--data", str(crops), "--out", str(out), "--min-height", "1"]
    assert main(command) == 0
    return out


def publishing_to(folder: Path) -> list[str]:
    """Arguments that publish to folder / "store"."""
    metric = {"name": "psnr", "value": 20.5, "unit": "dB", "data": "crops", "command": "evaluate"}
    facts = {"training": {"data": "none"}, "metrics": [metric], "licence": "Apache-2.0"}
    (folder / "facts.json").write_text(json.dumps(facts))
    (folder / "card.md").write_text("# A card")
    paths = {"--card": "card.md", "--facts": "facts.json", "--store": "store"}
    options = [part for option, name in paths.items() for part in (option, str(folder / name))]
    return ["--publish", "--name", "tiny", *options]


@pytest.fixture
def publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that publish to tmp_path / "store", also from a checkout with uncommitted changes."""
    monkeypatch.setattr("training.export.clean_commit", lambda _: "c" * 40)
    return publishing_to(tmp_path)


# A command in a process of its own: Paddle numbers operations from the start of one. Any checkout may publish, and
# each form computes four crops instead of 24, as most of the time would go into them.
FRESH = """
import sys
from training import __main__, export, parity
export.clean_commit = lambda root: "c" * 40
parity.BATCH_SIZES, parity.CROPS = (1, 2), 2
sys.exit(__main__.main(sys.argv[1:]))
"""


def fresh_export(*arguments: str) -> None:
    command = [sys.executable, "-c", FRESH, "export", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def made(weights: Path, crops: Path, evaluation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the exported forms in `out`, and published with the evaluation in `store`."""
    folder = tmp_path_factory.mktemp("made")
    command = ["--weights", str(weights), "--out", str(folder / "out"), "--crops", str(crops)]
    fresh_export(*command, *publishing_to(folder), "--evaluation", str(evaluation))
    return folder


@pytest.fixture
def exported(made: Path) -> Path:
    return made / "out"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dropout_mode": "downscale_in_infer"},
        {"attention": False},
        {"height": 32, "width": 32},
        {"height": 10, "width": 22, "stn": False},
        {"scale": 4},
        {"scale": 1},
    ],
)
def test_folding_changes_nothing(changes: dict[str, Any]) -> None:
    network = lively(**changes)
    lr = paddle.rand([2, 3, network.architecture["height"], network.architecture["width"]])
    with paddle.no_grad():
        expected, folded = network(lr).numpy(), FoldedTBSRN(network)(lr).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(folded, expected, atol=2e-5, rtol=0)  # rounding alone, of values up to 1


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize(("height", "width"), [(32, 64), (24, 40), (8, 70)])
def test_the_form_for_any_size_does_what_the_trained_network_does(
    attention: bool, height: int, width: int
) -> None:
    network = lively(attention=attention)
    lr = paddle.rand([2, 3, height, width])
    with paddle.no_grad():
        expected, folded = network(lr).numpy(), FoldedTBSRN(network, any_size=True)(lr).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(folded, expected, atol=2e-5, rtol=0)


def test_with_attention_the_form_for_any_size_is_the_trained_network_at_its_size() -> None:
    network = lively()
    lr = paddle.rand([2, 3, 16, 32])
    with paddle.no_grad():
        one, any_size = (FoldedTBSRN(network, any_size=given)(lr).numpy() for given in (False, True))
    np.testing.assert_array_equal(any_size, one)


@pytest.mark.parametrize(
    ("checkpoint", "recorded"),
    [
        ("parity/paddleocr_tbsrn.pdparams", "parity/paddleocr_io.npz"),
        ("checkpoints/tbsrn_start.safetensors", "checkpoints/tbsrn_start_io.npz"),
    ],
)
def test_every_form_reproduces_the_recorded_outputs(
    shared_dir: Path, tmp_path: Path, checkpoint: str, recorded: str
) -> None:
    network, _ = import_telescope(read_published(shared_dir / checkpoint))
    folded = write_paddle(network, tmp_path / "paddle", pixel_spec(network.architecture))
    write_onnx(tmp_path / "paddle", tmp_path / "onnx" / "model.onnx", metadata={})
    with np.load(shared_dir / recorded) as known:
        lr, sr = known["lr"], known["sr"]
    for name, form in parity.exported_forms(tmp_path, folded).items():
        assert np.abs(form(lr) - sr).max() <= parity.TOLERANCE, name
        assert np.abs(form(lr[:1]) - sr[:1]).max() <= parity.TOLERANCE, name


def test_the_report_covers_every_form_and_batch_size(exported: Path) -> None:
    found = json.loads((exported / "report.json").read_text())["parity"]
    assert_every_form_is_compared(found, batch_sizes={"1", "2"})


def assert_every_form_is_compared(found: dict[str, dict[str, float]], *, batch_sizes: set[str]) -> None:
    assert found.keys() == {"folded", "paddle-inference", "onnxruntime", "openvino-fp32"}
    assert all(by_batch.keys() == batch_sizes for by_batch in found.values())
    assert all(value <= parity.TOLERANCE for by_batch in found.values() for value in by_batch.values())


def assert_every_size_is_compared(report: dict[str, Any], *, batch_sizes: set[str]) -> None:
    found = report["parity_by_size"]
    assert found.keys() == {"16x64", "24x96", "32x128", "48x192"}
    for forms in found.values():
        assert_every_form_is_compared(forms, batch_sizes=batch_sizes)


def test_a_form_for_any_size_is_not_checked_at_the_trained_size() -> None:
    assert other_sizes(PixelSpec(16, 64, 2)) == SIZES[1:]
    assert other_sizes(PixelSpec(8, 16, 2)) == SIZES


def test_the_report_covers_the_form_for_any_size(exported: Path) -> None:
    assert_every_size_is_compared(json.loads((exported / "report.json").read_text()), batch_sizes={"1", "2"})


def test_a_network_without_attention_is_published_and_needs_no_evaluation(
    crops: Path, tmp_path: Path, publishing: list[str]
) -> None:
    plain = lively(attention=False, blocks=1, **SMALL_TILES)
    save_checkpoint(tmp_path / "plain.safetensors", plain, source={})
    command = ["export", "--weights", str(tmp_path / "plain.safetensors"), "--out", str(tmp_path / "out")]
    assert main([*command, "--crops", str(crops), *publishing]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert_every_form_is_compared(report["parity"], batch_sizes={"1", "8"})
    assert_every_size_is_compared(report, batch_sizes={"1", "8"})
    artefact = ModelStore(tmp_path / "store").resolve("tiny:1")
    assert {path.name for path in artefact.files("docs")} == {"report.json", "MODEL_CARD.md"}
    assert [(metric.name, metric.value) for metric in artefact.manifest.metrics] == [("psnr", 20.5)]


def test_the_onnx_form_names_its_tensors_and_its_source(exported: Path) -> None:
    model = onnx.load(exported / "onnx" / "model.onnx")
    (lr,), (sr,) = model.graph.input, model.graph.output
    assert (lr.name, sr.name) == ("lr", "sr")
    dims = [d.dim_param or d.dim_value for d in lr.type.tensor_type.shape.dim]
    assert dims == ["N", 3, 8, 16]
    free = onnx.load(exported / "onnx-any-size" / "model.onnx")
    dims = [d.dim_param or d.dim_value for d in free.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["N", 3, "H", "W"]
    assert "(N, 3, H, W)" in {entry.key: entry.value for entry in free.metadata_props}["input"]
    assert not {"Identity", "Softplus"} & {node.op_type for node in model.graph.node}
    assert "checkpoint_sha256" in {entry.key for entry in model.metadata_props}


def test_mish_holds_where_its_exponential_overflows(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node(*node) for node in (("Softplus", ["lr"], ["s"]), ("Tanh", ["s"], ["t"]))]
    nodes.append(onnx.helper.make_node("Mul", ["lr", "t"], ["sr"]))
    lr, sr = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N"]) for name in ("lr", "sr"))
    graph = onnx.helper.make_graph(nodes, "mish", [lr], [sr])
    spell_softplus(graph)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "mish.onnx")
    x = np.array([-200, -20, -1, 0, 1, 20, 200], np.float32)
    exact = x * np.tanh(np.logaddexp(0, x.astype(np.float64)))
    for form in (parity.onnxruntime, parity.openvino):
        np.testing.assert_allclose(form(tmp_path / "mish.onnx")(x), exact, atol=2e-6)


def test_the_command_repeated_gives_the_same_bytes(
    exported: Path, weights: Path, crops: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    fresh_export("--weights", str(weights), "--crops", str(crops), "--out", str(again))
    files = [path.relative_to(again) for path in again.rglob("*") if path.is_file()]
    assert len(files) == 8
    for file in files:
        assert (exported / file).read_bytes() == (again / file).read_bytes(), file


@pytest.mark.parametrize("error", [2e-4, float("nan")])
def test_a_form_that_differs_is_named(error: float) -> None:
    lr = np.zeros((16, 3, 2, 2), np.float32)
    forms: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "good": lambda batch: batch + 5e-5,
        "bad": lambda batch: batch + (error if len(batch) == 8 else 0),
    }
    found = parity.differences(lambda batch: batch, forms, lr)
    with pytest.raises(ParityError, match=r"trained network by more than 0.0001: bad by \S+ at batch size 8$"):
        parity.require_parity(found)


def test_a_form_that_differs_is_not_published(
    weights: Path, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publishing: list[str]
) -> None:
    monkeypatch.setattr("training.export.export_any_size", lambda *_, **__: {})
    monkeypatch.setattr(parity, "CROPS", 8)  # one batch
    monkeypatch.setattr(parity, "onnxruntime", lambda _: lambda lr: np.zeros_like(lr).repeat(2, 2).repeat(2, 3))
    command = ["export", "--weights", str(weights), "--out", str(tmp_path / "out"), "--crops", str(crops)]
    assert main([*command, *publishing]) == 2
    assert not (tmp_path / "store").exists()
    assert (tmp_path / "out" / "report.json").is_file()


def test_publishing_puts_everything_into_the_store(weights: Path, made: Path) -> None:
    artefact = ModelStore(made / "store").resolve("tiny:1")
    manifest = artefact.manifest
    assert {path.name for path in artefact.files("paddle")} == {"inference.json", "inference.pdiparams"}
    assert [path.read_bytes() for path in artefact.files("weights")] == [weights.read_bytes()]
    assert {path.name for path in artefact.files("docs")} == {"report.json", "MODEL_CARD.md", "evaluation.json"}
    assert (manifest.pixels.height, manifest.pixels.width, manifest.pixels.scale) == (8, 16, 2)
    assert manifest.any_size == SIZES  # the trained one is none of them
    assert {path.name for path in artefact.files("onnx-any-size")} == {"model.onnx"}
    assert manifest.training["source"] == {"run": "test"}
    assert manifest.git_commit == "c" * 40


def test_the_evaluation_goes_into_the_artefact_and_its_figures_into_the_manifest(
    made: Path, crops: Path, evaluation: Path
) -> None:
    artefact = ModelStore(made / "store").resolve("tiny:1")
    (stored,) = (path for path in artefact.files("docs") if path.name == "evaluation.json")
    assert stored.read_bytes() == (evaluation / "report.json").read_bytes()
    (score,) = json.loads(stored.read_text())["scores"]
    found = {metric.name: (metric.value, metric.data) for metric in artefact.manifest.metrics}
    data = f"{crops.name}, default, 3 crops"
    assert found == {
        "psnr": (20.5, "crops"),
        "psnr_avg": (score["sr"]["psnr_avg"], data),
        "psnr_avg_bicubic": (score["bicubic"]["psnr_avg"], data),
        "ssim_avg": (score["sr"]["ssim_avg"], data),
        "ssim_avg_bicubic": (score["bicubic"]["ssim_avg"], data),
    }


def test_an_evaluation_of_other_weights_is_refused(
    tmp_path: Path, publishing: list[str], evaluation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "other.safetensors", lively(blocks=1), source={})
    command = ["export", "--weights", str(tmp_path / "other.safetensors"), "--out", str(tmp_path / "out")]
    assert main([*command, *publishing, "--evaluation", str(evaluation)]) == 2
    assert "tiny.safetensors, which is not" in capsys.readouterr().err
    assert main([*command, *publishing, "--evaluation", str(tmp_path)]) == 2
    assert "report.json is not the report of an evaluation" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["--name", "--card", "--facts", "--store"])
def test_publishing_without_an_argument_names_it_before_exporting(
    tmp_path: Path, publishing: list[str], missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = publishing.index(missing)
    command = ["export", "--weights", "absent", "--out", str(tmp_path / "out")]
    assert main([*command, *publishing[:at], *publishing[at + 2 :]]) == 2
    assert f"needs {missing}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"training": {}}', '{"training": {}, "metrics": [1], "licence": ""}', '{"licence": ""}'],
)
def test_incomplete_facts_are_refused(
    tmp_path: Path, publishing: list[str], content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "facts.json").write_text(content)
    assert main(["export", "--weights", "absent", "--out", str(tmp_path / "out"), *publishing]) == 2
    assert "must hold training and licence" in capsys.readouterr().err


def test_code_that_is_not_committed_cannot_publish(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    with pytest.raises(ExportError, match="checkout"):
        clean_commit(tmp_path)
    git("init")
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "code.py").write_text("one")
    git("add", ".")
    git("commit", "-m", "one")
    assert len(clean_commit(tmp_path)) == 40
    (tmp_path / "training" / "code.py").write_text("two")
    with pytest.raises(ExportError, match=r"training/code\.py"):
        clean_commit(tmp_path)


def test_an_export_never_mixes_with_what_is_there(exported: Path, weights: Path, crops: Path) -> None:
    with pytest.raises(ExportError, match="not an empty folder"):
        export(weights, exported, crops=crops)


def test_crops_come_from_a_tar_as_from_a_folder(crops: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "crops.tar", "w") as archive:
        archive.add(crops, arcname="some/where")
    for ours, theirs in zip(parity.read_crops(tmp_path / "crops.tar"), parity.read_crops(crops), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_files_of_a_mac_are_no_crops(tmp_path: Path) -> None:
    Image.new("RGB", (64, 16), "red").save(tmp_path / "a.TIF", "TIFF")
    (tmp_path / "._a.TIF").write_bytes(b"no picture")
    with tarfile.open(tmp_path / "crops.tar", "w") as archive:
        archive.add(tmp_path / "a.TIF", "./a.TIF")
        archive.add(tmp_path / "._a.TIF", "./._a.TIF")
    for source in (tmp_path, tmp_path / "crops.tar"):
        assert (parity.read_crops(source)[1] == [255, 0, 0]).all()


def test_crops_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        parity.read_crops(tmp_path)
    (tmp_path / "a.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"a\.png"):
        parity.read_crops(tmp_path)
    with pytest.raises(DataError, match="neither a folder nor a tar"):
        parity.read_crops(tmp_path / "a.png")


def test_the_published_model_gives_the_start_checkpoint_s_outputs(shared_dir: Path) -> None:
    artefact = ModelStore(ROOT / "model_store").resolve("tbsrn:1")
    (model,) = artefact.files("onnx")
    with np.load(shared_dir / "checkpoints" / "tbsrn_start_io.npz") as known:
        assert np.abs(parity.onnxruntime(model)(known["lr"]) - known["sr"]).max() <= parity.TOLERANCE
