"""Opens a network in any of its forms for `evaluate` and `predict`.

    checkpoint (.safetensors, .pdparams, .pth) -> converted -> OpenVINO or ONNX Runtime
                                               -> as trained -> Paddle or PyTorch
    tbsrn:1 of the model store, model.onnx                  -> OpenVINO or ONNX Runtime
    folder of inference.json, .pdiparams                    -> Paddle Inference

    network = open_weights("tbsrn:1")
    sr_nchw = network.run(lr_nchw)

Checkpoints are converted for speed: on a CPU Paddle's dynamic graph reaches 1 to 3 images a second, the
converted forms 10 to 30. Their outputs differ by less than 1e-4, which `export` checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from model_store import BUNDLED
from model_store.errors import ModelStoreError
from model_store.manifest import PixelSpec, sha256_of
from model_store.optional import first_line
from model_store.pixels import Nchw
from model_store.store import ModelStore
from training import forms
from training.architecture import pixel_spec
from training.engines import engine_module
from training.errors import CheckpointError, ConfigError, UnreadableCheckpoint
from training.optional import needs, usable
from training.versions import versions

if TYPE_CHECKING:
    from training.tbsrn import TBSRN

ENGINES = ("auto", "openvino", "onnxruntime", "paddle", "torch")
CHECKPOINTS = (".safetensors", ".pdparams", ".pth")


@dataclass(frozen=True)
class LoadedNetwork:
    """A super-resolution network in a library that runs it.

    name: the model's name in reports. engine: library, version and form. sha256: of the weights.
    run: LR float32 (N, 3, h, w) -> SR float32 (N, 3, scale*h, scale*w), not clipped.
    """

    name: str
    engine: str
    sha256: str
    spec: PixelSpec
    run: Callable[[Nchw], Nchw]


def open_weights(weights: str, *, engine: str = "auto", store: Path = BUNDLED) -> LoadedNetwork:
    """Open a checkpoint, an exported file or folder, or `name[:version]` of a model store.

    Raises CheckpointError or a subclass with one sentence, MissingExtra naming the package to install.
    """
    path = Path(weights)
    if path.suffix in CHECKPOINTS:
        return _checkpoint(_existing(path), engine)
    if path.suffix == ".onnx":
        return _onnx(_existing(path), path.name, engine)
    if path.is_dir():
        return _folder(path, engine)
    if path.exists() or len(path.parts) > 1:
        _existing(path)
        raise UnreadableCheckpoint(f"{path} must end in one of {', '.join((*CHECKPOINTS, '.onnx'))}")
    return _published(weights, engine, store)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UnreadableCheckpoint(f"{path} is not a file")
    return path


def _published(ref: str, engine: str, store: Path) -> LoadedNetwork:
    try:
        artefact = ModelStore(store).resolve(ref)
        name = artefact.manifest.ref
        if engine == "torch":
            return _torch(artefact.files("weights")[0], name)
        if engine == "paddle":
            return _paddle(artefact.files("paddle")[0].parent, name)
        (model,) = artefact.files("onnx")
        return _onnx(model, name, engine)
    except ModelStoreError as exc:
        raise CheckpointError(f"{ref} is neither a file nor a usable model of the store: {exc}") from exc


def _folder(folder: Path, engine: str) -> LoadedNetwork:
    """An output folder of `export`, its paddle/ or onnx/, or any Paddle inference folder."""
    if engine == "torch":
        raise ConfigError(f"--engine torch cannot run {folder}; give the checkpoint it was exported from")
    for found in sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")]):
        if engine != "paddle":
            return _onnx(found, folder.name, engine)
    for place in (folder, folder / "paddle"):
        if list(place.glob("*.pdiparams")):
            return _paddle(place, folder.name)
    raise UnreadableCheckpoint(f"{folder} holds neither a .onnx nor a .pdiparams file")


def _checkpoint(path: Path, engine: str) -> LoadedNetwork:
    if engine == "torch":
        return _torch(path, path.name)
    also = ", or run the checkpoint in PyTorch with --engine torch"
    with needs(f"converting the checkpoint {path}", "paddle", also=also):
        # Paddle takes seconds to import, needless for a published model
        from training.checkpoint import load_checkpoint
        from training.convert import import_telescope
        from training.published import read_published

    is_ours = path.suffix == ".safetensors"
    network = load_checkpoint(path) if is_ours else import_telescope(read_published(path))[0]
    spec, digest = pixel_spec(network.architecture), sha256_of(path)
    if engine == "paddle" or (engine == "auto" and _stay_in_paddle()):
        from training.parity import dygraph

        return LoadedNetwork(path.name, f"{_library('paddle')}, as trained", digest, spec, dygraph(network))
    with TemporaryDirectory() as folder:
        converted = _convert(network, Path(folder), spec)
        made = _onnx(converted, path.name, engine)
    return LoadedNetwork(path.name, f"{made.engine}, converted from the checkpoint", digest, spec, made.run)


def _torch(path: Path, name: str) -> LoadedNetwork:
    architecture, compute = engine_module("torch").predictor(path)
    digest = sha256_of(path)
    return LoadedNetwork(name, f"{_library('torch')}, as trained", digest, pixel_spec(architecture), compute)


def _stay_in_paddle() -> bool:
    """Whether to skip the conversion: a GPU makes Paddle fast, or the converter or a runtime is missing."""
    import paddle

    on_gpu = paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    converter = usable("onnx") and usable("paddle2onnx")
    return on_gpu or not (converter and (usable("openvino") or usable("onnxruntime")))


def _convert(network: TBSRN, folder: Path, spec: PixelSpec) -> Path:
    with needs("converting a checkpoint"):
        from training.onnx_form import write_onnx
        from training.paddle_form import write_paddle
    write_paddle(network, folder / "paddle", spec)
    write_onnx(folder / "paddle", folder / "onnx" / "model.onnx", metadata={})
    return folder / "onnx" / "model.onnx"


def _onnx(model: Path, name: str, engine: str) -> LoadedNetwork:
    if engine in ("paddle", "torch"):
        raise ConfigError(f"--engine {engine} cannot run {model}; choose openvino or onnxruntime")
    if engine == "auto":
        engine = "openvino" if usable("openvino") or not usable("onnxruntime") else "onnxruntime"
    outputs, size = {"openvino": forms.openvino, "onnxruntime": forms.onnxruntime}[engine](model)
    return _probed(name, f"{_library(engine)}, fp32", sha256_of(model), size, outputs)


def _paddle(folder: Path, name: str) -> LoadedNetwork:
    weights = sorted(folder.glob("*.pdiparams"))[0]
    programs = [p for p in (weights.with_suffix(".json"), weights.with_suffix(".pdmodel")) if p.is_file()]
    if not programs:
        raise UnreadableCheckpoint(f"{folder} has {weights.name} and no .json or .pdmodel of that name")
    outputs, size = forms.paddle(programs[0], weights)
    return _probed(name, f"{_library('paddle')} Inference, fp32", sha256_of(weights), size, outputs)


def _library(module: str) -> str:
    """`openvino` -> `openvino 2026.4.1`, the package that provides the module."""
    return " ".join(next(iter(versions([module]).items())))


def _probed(name: str, engine: str, digest: str, size: tuple[int, int], outputs: forms.Outputs) -> LoadedNetwork:
    """Run one grey crop to find SR among the outputs (PaddleOCR's export returns LR too) and the scale."""
    height, width = size
    try:
        shapes = [np.shape(value) for value in outputs(np.full((1, 3, height, width), 0.5, np.float32))]
    except Exception as exc:
        raise UnreadableCheckpoint(f"{name} does not take RGB of {height}x{width}: {first_line(exc)}") from exc
    for index, shape in enumerate(shapes):
        scale = shape[2] // height if len(shape) == 4 else 0
        if scale > 1 and shape == (1, 3, scale * height, scale * width):
            spec = PixelSpec(height=height, width=width, scale=scale)
            return LoadedNetwork(name, engine, digest, spec, partial(_output, outputs, index))
    raise UnreadableCheckpoint(f"{name} is no super-resolution network: {height}x{width} becomes {shapes}")


def _output(outputs: forms.Outputs, index: int, lr: Nchw) -> Nchw:
    return np.asarray(outputs(lr)[index], np.float32)
