"""Loads exported networks into the library of their form, one function a library.

Each returns (outputs, size): `outputs` gives every output of the network for LR float32 (N, 3, h, w), and
`size` is the (h, w) it takes. Raises UnreadableCheckpoint, in one sentence, for a file that cannot be loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from model_store.pixels import Nchw
from training.errors import UnreadableCheckpoint

LR_SIZE = (16, 64)  # height, width: where a file does not tell, that of the published networks

Outputs = Callable[[Nchw], list[np.ndarray]]


def openvino(model: Path) -> tuple[Outputs, tuple[int, int]]:
    import openvino

    try:
        network = openvino.Core().read_model(model)
        sides = list(network.inputs[0].get_partial_shape())[2:]
        size = tuple(None if side.is_dynamic else side.get_length() for side in sides)
        # Left to itself OpenVINO takes bf16 where the processor has it: other figures on other machines.
        compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except (RuntimeError, IndexError) as exc:
        raise UnreadableCheckpoint(f"{model} cannot be loaded by OpenVINO: {first_line(exc)}") from exc
    return lambda lr: list(compiled([lr]).values()), _known(size)


def onnxruntime(model: Path) -> tuple[Outputs, tuple[int, int]]:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its exceptions derive straight from Exception
        raise UnreadableCheckpoint(f"{model} cannot be loaded by ONNX Runtime: {first_line(exc)}") from exc
    first = session.get_inputs()[0]
    size = tuple(side if isinstance(side, int) else None for side in first.shape[2:])
    return lambda lr: list(session.run(None, {first.name: lr})), _known(size)


def paddle(program: Path, weights: Path) -> tuple[Outputs, tuple[int, int]]:
    """Paddle's own form; it does not tell its input size, so LR_SIZE is taken."""
    from paddle import inference

    try:
        config = inference.Config(str(program), str(weights))
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(os.cpu_count() or 1)
        predictor = inference.create_predictor(config)
    except Exception as exc:  # RuntimeError, ValueError or its own kinds, by what is wrong
        raise UnreadableCheckpoint(f"{program} cannot be loaded by Paddle: {first_line(exc)}") from exc

    def outputs(lr: Nchw) -> list[np.ndarray]:
        predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(np.ascontiguousarray(lr))
        predictor.run()
        return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]

    return outputs, LR_SIZE


def first_line(exc: Exception) -> str:
    """What a library's exception says, without its stack."""
    lines = [line for line in str(exc).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(exc).__name__


def _known(size: tuple[int | None, ...]) -> tuple[int, int]:
    height, width = size if len(size) == 2 else (None, None)
    return height or LR_SIZE[0], width or LR_SIZE[1]
