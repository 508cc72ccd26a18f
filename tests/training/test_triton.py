"""The model repository for Triton: its configurations are valid, and its files run as they say."""

import argparse
import importlib.util
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.inference.predictor import Predictor
from app.serving.loading import LoadedModel
from app.settings import Settings
from model_store import BUNDLED
from model_store.errors import DigestMismatch
from model_store.pixels import crops_to_lr, sr_to_crops
from model_store.store import Artefact, ModelStore
from tests.app.conftest import Server
from tests.app.fakes import FakeRuntime
from tests.conftest import REPOSITORY
from training import triton
from training.errors import ExportError
from training.triton import BATCH_SIZES, BATCHING, read_batch_sizes, write_repository

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("tritonclient.http", reason="Triton's client is not installed (the extra dev has it)")
text_format = pytest.importorskip("google.protobuf.text_format")

FREE = -1  # a variable dimension
DOCUMENT = (REPOSITORY / "docs" / "triton.md").read_text()


def published_protobuf() -> Any:
    """The module of Triton's configuration, without its package, which needs gRPC."""
    path = distribution("tritonclient").locate_file("tritonclient/grpc/model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("model_config_pb2", str(path))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pb = published_protobuf()


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    return ModelStore(BUNDLED).resolve("tbsrn:4")


@pytest.fixture(scope="module", params=sorted(BATCHING))
def repository(
    request: pytest.FixtureRequest, artefact: Artefact, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A repository for each backend, with its name, of the sizes that a GPU might get."""
    out: Path = tmp_path_factory.mktemp("triton") / request.param
    write_repository(artefact, out, backend=request.param, batch_sizes=(1, 4, 16))
    return out


def configs(repository: Path) -> dict[Path, Any]:
    """The configuration of each model's folder. Raises ParseError for a field that the protobuf has not."""
    paths = sorted(repository.glob("*/config.pbtxt"))
    assert paths
    return {path.parent: text_format.Parse(path.read_text(), pb.ModelConfig()) for path in paths}


def broken_rules(config: Any, folder: Path) -> list[str]:
    """The rules that Triton checks beyond the protobuf: model_config_utils.cc, model_repository_manager.cc of its
    repository `core`, and openvino.cc and onnxruntime.cc of its backends."""
    tensors = [*config.input, *config.output]
    preferred = config.dynamic_batching.preferred_batch_size
    inputs = {tensor.name: list(tensor.dims) for tensor in config.input}
    warmups = [(sample, one) for sample in config.model_warmup for one in sample.inputs.values()]
    kinds = {group.kind for group in config.instance_group}
    on_gpu = config.optimization.execution_accelerators.gpu_execution_accelerator
    rules = {
        "the name is that of the folder": config.name == folder.name,
        "the backend is known": config.backend in BATCHING,
        "tensors have names": all(tensor.name for tensor in tensors),
        "tensors have types": all(tensor.data_type != pb.TYPE_INVALID for tensor in tensors),
        "tensors have dimensions": bool(tensors) and all(len(tensor.dims) for tensor in tensors),
        "dimensions are positive or free": all(dim > 0 or dim == FREE for t in tensors for dim in t.dims),
        "preferred sizes are batches": all(0 < size <= config.max_batch_size for size in preferred),
        "only a model with batches is batched": config.max_batch_size > 0
        or not config.HasField("dynamic_batching"),
        "warm-ups are batches": all(
            0 < sample.batch_size <= max(1, config.max_batch_size) for sample in config.model_warmup
        ),
        "warm-ups have the inputs": all(sample.inputs.keys() == inputs.keys() for sample in config.model_warmup),
        "warm-ups have fixed dimensions": all(dim > 0 for _, one in warmups for dim in one.dims),
        "warm-ups fit the inputs": all(
            len(one.dims) == len(inputs[name])
            and all(given in (FREE, dim) for given, dim in zip(inputs[name], one.dims, strict=True))
            for sample in config.model_warmup
            for name, one in sample.inputs.items()
            if name in inputs
        ),
        "warm-ups have data that are numbers": all(
            one.WhichOneof("input_data_type") == "zero_data" for _, one in warmups
        ),
        "OpenVINO runs on CPU": config.backend != "openvino" or kinds == {pb.ModelInstanceGroup.KIND_CPU},
        "ONNX Runtime's accelerators are known": all(one.name in ("cuda", "tensorrt") for one in on_gpu),
        "each version served is there": bool(config.version_policy.specific.versions)
        and all((folder / str(n)).is_dir() for n in config.version_policy.specific.versions),
    }
    return [rule for rule, holds in rules.items() if not holds]


def test_triton_accepts_every_configuration(repository: Path) -> None:
    assert {folder.name for folder in configs(repository)} == {"tbsrn", "tbsrn_any_size"}
    for folder, config in configs(repository).items():
        assert broken_rules(config, folder) == []
        assert config.backend == repository.name


BREAK: dict[str, Callable[[Any], object]] = {
    "the name is that of the folder": lambda config: setattr(config, "name", "other"),
    "tensors have names": lambda config: setattr(config.output[0], "name", ""),
    "tensors have types": lambda config: setattr(config.input[0], "data_type", pb.TYPE_INVALID),
    "tensors have dimensions": lambda config: config.output[0].ClearField("dims"),
    "dimensions are positive or free": lambda config: config.output[0].dims.__setitem__(0, 0),
    "preferred sizes are batches": lambda config: config.dynamic_batching.preferred_batch_size.append(99),
    "warm-ups are batches": lambda config: setattr(config.model_warmup[0], "batch_size", 99),
    "warm-ups have the inputs": lambda config: config.model_warmup[0].inputs.clear(),
    "warm-ups have fixed dimensions": lambda config: config.model_warmup[0].inputs["lr"].dims.__setitem__(1, FREE),
    "warm-ups fit the inputs": lambda config: config.model_warmup[0].inputs["lr"].dims.append(1),
    "warm-ups have data that are numbers": lambda config: setattr(
        config.model_warmup[0].inputs["lr"], "random_data", True
    ),
    "OpenVINO runs on CPU": lambda config: config.MergeFrom(
        pb.ModelConfig(backend="openvino", instance_group=[pb.ModelInstanceGroup()])
    ),
    "ONNX Runtime's accelerators are known": lambda config: (
        config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="TF32")
    ),
    "each version served is there": lambda config: config.version_policy.specific.versions.append(7),
}


@pytest.mark.parametrize("rule", BREAK)
def test_a_broken_rule_is_found(repository: Path, rule: str) -> None:
    folder, config = next(iter(configs(repository).items()))
    BREAK[rule](config)
    assert rule in broken_rules(config, folder)


def test_an_unknown_field_is_found(tmp_path: Path) -> None:
    (tmp_path / "tbsrn").mkdir()
    (tmp_path / "tbsrn" / "config.pbtxt").write_text("max_batch: 4")
    with pytest.raises(text_format.ParseError, match='no field named "max_batch"'):
        configs(tmp_path)


def test_the_files_are_those_of_the_store_and_no_others(repository: Path, artefact: Artefact) -> None:
    found = {path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()}
    kinds = {"tbsrn": "onnx", "tbsrn_any_size": "onnx-any-size"}
    assert found == {f"{name}/{file}" for name in kinds for file in ("config.pbtxt", "4/model.onnx")}
    for name, kind in kinds.items():
        (stored,) = artefact.files(kind)
        assert (repository / name / "4" / "model.onnx").read_bytes() == stored.read_bytes()
    assert all(path.stat().st_mode & 0o055 == 0o055 for path in [repository, *repository.iterdir()])


def test_the_configuration_names_the_model_and_its_digest(repository: Path, artefact: Artefact) -> None:
    for config in configs(repository).values():
        assert config.parameters["model"].string_value == "tbsrn:4"
        assert config.parameters["model_digest"].string_value == artefact.digest
        assert list(config.version_policy.specific.versions) == [4]


def full_dims(tensor: Any, config: Any) -> list[int]:
    """A tensor's dims with the batch, which a model that Triton batches leaves out."""
    return [*([FREE] if config.max_batch_size else []), *tensor.dims]


def test_tensors_are_those_of_the_file(repository: Path) -> None:
    for folder, config in configs(repository).items():
        session = ort.InferenceSession(folder / "4" / config.default_model_filename)
        for given, stored in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
            assert [tensor.name for tensor in given] == [tensor.name for tensor in stored]
            assert {tensor.data_type for tensor in given} == {pb.TYPE_FP32}
            assert {tensor.type for tensor in stored} == {"tensor(float)"}
            # Triton's ONNX Runtime backend demands that the output's dims are exactly those of the file
            sides = [[dim if isinstance(dim, int) else FREE for dim in tensor.shape] for tensor in stored]
            assert [full_dims(tensor, config) for tensor in given] == sides


def warmed(config: Any) -> Iterator[tuple[int, ...]]:
    """The shape of each warm-up's batch: Triton joins the requests of a model that it batches."""
    for sample in config.model_warmup:
        dims = tuple(sample.inputs["lr"].dims)
        yield (sample.batch_size, *dims) if config.max_batch_size else dims


@pytest.mark.parametrize("backend", sorted(BATCHING))
@pytest.mark.parametrize("batch_sizes", [(1,), (1, 4), (1, 4, 16)])
def test_triton_warms_every_shape_that_the_service_warms(
    artefact: Artefact, tmp_path: Path, backend: str, batch_sizes: tuple[int, ...]
) -> None:
    write_repository(artefact, tmp_path / "out", backend=backend, batch_sizes=batch_sizes)
    sizes, spec = artefact.manifest.input_sizes, artefact.manifest.pixels
    predictor = Predictor(FakeRuntime, spec=spec, batch_sizes=batch_sizes, input_sizes=sizes)
    predictor.close()
    expected = {(count, 3, *size) for size in sizes for count in predictor.sizes(size)}
    found = [shape for config in configs(tmp_path / "out").values() for shape in warmed(config)]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_batches_are_those_of_the_warm_up(artefact: Artefact, tmp_path: Path) -> None:
    write_repository(artefact, tmp_path / "out", backend="onnxruntime", batch_sizes=(1, 4, 16))
    found = {folder.name: config for folder, config in configs(tmp_path / "out").items()}
    batches = {name: list(config.dynamic_batching.preferred_batch_size) for name, config in found.items()}
    assert batches == {"tbsrn": [1, 4, 16], "tbsrn_any_size": [1, 4]}
    assert {name: config.max_batch_size for name, config in found.items()} == {"tbsrn": 16, "tbsrn_any_size": 4}


def test_the_defaults_are_those_of_the_service() -> None:
    settings = Settings()
    assert settings.batch_sizes == BATCH_SIZES
    assert settings.model == (triton.MODEL,)


def in_onnx_runtime(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    session = ort.InferenceSession(file)
    return lambda lr: session.run(["sr"], {"lr": lr})[0]


def in_openvino(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """As Triton's OpenVINO backend reads a file without a max_batch_size."""
    openvino = pytest.importorskip("openvino")
    network = openvino.Core().read_model(file)
    # or the backend would give the model a max_batch_size
    assert not openvino.layout_helpers.has_batch(openvino.layout_helpers.get_layout(network.inputs[0]))
    options = {"PERFORMANCE_HINT": "LATENCY", "ALLOW_AUTO_BATCHING": False}
    compiled = openvino.Core().compile_model(network, "CPU", options).create_infer_request()
    return lambda lr: np.array(compiled.infer({"lr": lr})["sr"])


@pytest.mark.slow  # 48x192 takes half a second
@pytest.mark.parametrize("backend", [in_onnx_runtime, in_openvino])
def test_the_files_run_at_every_warmed_shape(
    artefact: Artefact, tmp_path: Path, backend: Callable[[Path], Callable[[np.ndarray], np.ndarray]]
) -> None:
    name = "openvino" if backend is in_openvino else "onnxruntime"
    write_repository(artefact, tmp_path / "out", backend=name, batch_sizes=BATCH_SIZES)
    ran = 0
    for folder, config in configs(tmp_path / "out").items():
        run = backend(folder / "4" / "model.onnx")
        for count, channels, height, width in warmed(config):
            sr = run(np.full((count, channels, height, width), 0.5, np.float32))
            assert sr.shape == (count, 3, 2 * height, 2 * width)
            assert np.isfinite(sr).all()
            ran += 1
    assert ran == 5


def test_a_model_of_one_size_is_one_model_of_triton(tmp_path: Path) -> None:
    write_repository(
        ModelStore(BUNDLED).resolve("tbsrn:2"), tmp_path / "out", backend="openvino", batch_sizes=(1, 4)
    )
    ((folder, config),) = configs(tmp_path / "out").items()
    assert folder.name == config.name == "tbsrn"
    assert (folder / "2" / "model.onnx").is_file()


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a link to an empty folder"])
def test_a_new_or_empty_folder_is_filled(artefact: Artefact, tmp_path: Path, there: str) -> None:
    out = tmp_path / "a" / "out"
    if there == "an empty folder":
        out.mkdir(parents=True)
    elif there != "nothing":
        (tmp_path / "a").mkdir()
        (tmp_path / "empty").mkdir()
        out.symlink_to(tmp_path / "empty")
    write_repository(artefact, out, backend="onnxruntime", batch_sizes=(1,))
    assert len(configs(out)) == 2
    assert {path.name for path in tmp_path.rglob(".*")} == set(), "no temporary folder is left"


@pytest.mark.parametrize("there", ["a file", "a folder with a file"])
def test_nothing_that_is_there_is_written_over(artefact: Artefact, tmp_path: Path, there: str) -> None:
    out = tmp_path / "out"
    kept = out if there == "a file" else out / "kept"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("kept")
    with pytest.raises(ExportError, match="exists and is not an empty folder; choose another"):
        write_repository(artefact, out, backend="onnxruntime", batch_sizes=(1,))
    assert kept.read_text() == "kept"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]


def test_a_folder_that_cannot_be_written_is_named(artefact: Artefact, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"file/out cannot be written: .*File exists"):
        write_repository(artefact, tmp_path / "file" / "out", backend="onnxruntime", batch_sizes=(1,))


def test_an_export_that_stops_leaves_nothing_to_load(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[Path] = []

    def stopped(source: Path, target: Path) -> None:
        if copied:
            raise KeyboardInterrupt
        copied.append(Path(target))
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(triton.shutil, "copyfile", stopped)  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        write_repository(artefact, tmp_path / "out", backend="onnxruntime", batch_sizes=(1,))
    assert copied
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_of_the_store_is_not_exported(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED / "tbsrn" / "4", tmp_path / "tbsrn" / "4")
    network = tmp_path / "tbsrn" / "4" / "onnx-any-size" / "model.onnx"
    content = bytearray(network.read_bytes())
    content[-1] ^= 1
    network.write_bytes(content)
    with pytest.raises(DigestMismatch, match="onnx-any-size"):
        write_repository(
            ModelStore(tmp_path).resolve("tbsrn"), tmp_path / "out", backend="onnxruntime", batch_sizes=(1,)
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "4", "1,1", "0,1", "-1,1", "1,x", "1.5,1", "1,,4"])
def test_batch_sizes_that_the_service_refuses_are_refused(text: str) -> None:
    with pytest.raises(ExportError, match="distinct numbers that include 1"):
        read_batch_sizes(text)


def test_batch_sizes_are_sorted() -> None:
    assert read_batch_sizes("16, 1,4") == (1, 4, 16)


def options(*arguments: str) -> argparse.Namespace:
    """The options of `python -m training export`."""
    export = pytest.importorskip("training.export", reason="the extra train is not installed")
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.slow  # imports Paddle
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --weights and --out, or --triton"),
        (["--weights", "w"], "give --weights and --out, or --triton"),
        (["--triton", "OUT", "--weights", "w"], "--triton takes no --weights"),
        (["--triton", "OUT", "--publish"], "--triton takes no --publish"),
        (["--weights", "w", "--out", "OUT", "--model", "tbsrn"], "--model goes with --triton alone"),
        (["--weights", "w", "--out", "OUT", "--batch-sizes", "1"], "--batch-sizes goes with --triton alone"),
        (["--triton", "OUT", "--batch-sizes", "4"], "--batch-sizes is '4'"),
        (["--triton", "OUT", "--batch-sizes", ""], "--batch-sizes is ''"),
        (["--triton", "OUT", "--model", "other"], "model 'other' is not in"),
        (["--triton", "OUT", "--model", "tbsrn:9"], "model 'tbsrn' has no version '9'"),
        (["--triton", "OUT", "--store", "OUT"], "which holds no models"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    given = options(*(str(tmp_path / "out") if part == "OUT" else part for part in arguments))
    from training.export import run

    with pytest.raises(ExportError, match=re.escape(message)):
        run(given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # imports Paddle
def test_the_command_of_the_document_writes_the_bundled_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("paddle", reason="the extra train is not installed")
    from training.__main__ import main

    (command,) = re.findall(r"^python -m training (export .*)$", DOCUMENT, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 0
    assert "tbsrn:4 is ready: tritonserver --model-repository=" in capsys.readouterr().out
    assert {folder.name for folder in configs(tmp_path / "triton-models")} == {"tbsrn", "tbsrn_any_size"}


def test_the_request_of_the_document_gets_the_network_s_pixels_from_the_service(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Triton server was available; the service speaks Triton's protocol."""
    from app.inference.runtimes.onnx_runtime import OnnxRuntime

    spec = artefact.manifest.pixels
    predictor = Predictor(
        lambda: OnnxRuntime(artefact, device="cpu", threads=0, precision="fp32"), spec=spec, batch_sizes=(1,)
    )
    server = Server(Settings(), FakeRuntime(), loaded=[LoadedModel(artefact, predictor)])
    try:
        (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
        monkeypatch.chdir(tmp_path)
        (code,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
        assert code.count("localhost:8000") == 1
        exec(code.replace("localhost:8000", server.url.removeprefix("http://")), {})
    finally:
        server.stop()
    crop = np.asarray(Image.open(REPOSITORY / "examples" / "crops" / "harbour.png").convert("RGB"))
    (network,) = artefact.files("onnx")
    (expected,) = sr_to_crops(in_onnx_runtime(network)(crops_to_lr([crop], spec)), spec)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "sr.png")), expected)
    assert expected.shape == (32, 128, 3)
