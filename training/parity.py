"""Checks that every exported form computes the same outputs as the trained network.

crops -> LR -> { trained network, folded, Paddle Inference, ONNX Runtime, OpenVINO } -> max |difference|
"""

from __future__ import annotations

import itertools
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from lzma import LZMAError
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from model_store import pictures
from model_store.errors import PictureError
from model_store.left_out import system_file
from training.errors import DataError, ParityError
from training.optional import needs

TOLERANCE = 1e-4  # 1/40 of one 8-bit level; rounding alone is near 1e-6
BATCH_SIZES = (1, 8)
CROPS = 16  # two batches of 8; the trained network needs about a second for each crop

Form = Callable[[np.ndarray], np.ndarray]  # LR float32 (N, 3, h, w) -> SR float32 (N, 3, H, W)
Differences = dict[str, dict[str, float]]  # form -> batch size -> max |difference|


def exported_forms(folder: Path, folded: nn.Layer, *, suffix: str = "") -> dict[str, Form]:
    """Every form by name, from the folders `paddle` + suffix and `onnx` + suffix that `training.export` wrote."""
    model = folder / f"onnx{suffix}" / "model.onnx"
    return {
        "folded": dygraph(folded),
        "paddle-inference": paddle_inference(folder / f"paddle{suffix}"),
        "onnxruntime": onnxruntime(model),
        "openvino-fp32": openvino(model),
    }


def differences(reference: Form, forms: dict[str, Form], lr: np.ndarray) -> Differences:
    """Largest absolute difference between each form and `reference`, per batch size.

    lr: float32 (N, 3, h, w), N divisible by every batch size.
    """

    def sr(form: Form, size: int) -> np.ndarray:
        return np.concatenate([form(batch) for batch in np.split(lr, len(lr) // size)])

    expected = sr(reference, BATCH_SIZES[-1])
    return {
        name: {str(size): float(np.abs(sr(form, size) - expected).max()) for size in BATCH_SIZES}
        for name, form in forms.items()
    }


def require_parity(found: Differences, *, at: str = "") -> None:
    """Raises ParityError naming each form beyond TOLERANCE."""
    beyond = [
        f"{name} by {value:.2g} at batch size {size}"
        for name, by_size in found.items()
        for size, value in by_size.items()
        if not value <= TOLERANCE  # true for NaN too
    ]
    if beyond:
        raise ParityError(
            f"exported forms differ from the trained network by more than {TOLERANCE:g}{at}: {', '.join(beyond)}"
        )


def dygraph(network: nn.Layer) -> Form:
    def run(lr: np.ndarray) -> np.ndarray:
        with paddle.no_grad():
            return network(paddle.to_tensor(lr)).numpy()

    return run


def paddle_inference(folder: Path) -> Form:
    config = paddle.inference.Config(str(folder / "inference.json"), str(folder / "inference.pdiparams"))
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(os.cpu_count() or 1)
    predictor = paddle.inference.create_predictor(config)

    def run(lr: np.ndarray) -> np.ndarray:
        predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(np.ascontiguousarray(lr))
        predictor.run()
        return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()

    return run


def onnxruntime(model: Path) -> Form:
    with needs("checking the ONNX form", "onnxruntime"):
        import onnxruntime
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda lr: session.run(["sr"], {"lr": lr})[0]


def openvino(model: Path) -> Form:
    with needs("checking the OpenVINO form", "openvino"):
        import openvino
    # the default hint would use bf16 on CPUs that have it
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda lr: compiled([lr])["sr"]


def read_crops(source: Path) -> list[np.ndarray]:
    """The first CROPS images by name of a folder or tar, as uint8 (H, W, 3) RGB.

    Fewer images are repeated to fill the batches. Raises DataError if there are none or one cannot be decoded.
    """
    crops = [_decode(name, content) for name, content in _first_images(source)]
    if not crops:
        raise DataError(f"{source} holds no images ({', '.join(pictures.SUFFIXES)})")
    return list(itertools.islice(itertools.cycle(crops), CROPS))


def _first_images(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if _is_image(str(p)))[:CROPS]:
            yield path.name, path.read_bytes()
        return
    try:
        with tarfile.open(source) as archive:
            members = [m for m in archive if m.isfile() and _is_image(m.name)]
            for member in sorted(members, key=lambda m: m.name)[:CROPS]:
                stream = archive.extractfile(member)
                assert stream is not None  # None only for directories and links
                yield member.name, stream.read()
    except (OSError, tarfile.TarError, EOFError, zlib.error, LZMAError) as exc:
        raise DataError(f"{source} is neither a folder nor a tar of images: {exc}") from exc


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in pictures.SUFFIXES and not system_file(name)


def _decode(name: str, content: bytes) -> np.ndarray:
    try:
        return pictures.decode(content)
    except PictureError as exc:
        raise DataError(f"{name} cannot be decoded: {exc}") from exc
