"""Loads exported networks, one function per library.

Each returns (outputs, size): `outputs` maps LR float32 (N, 3, h, w) to every output of the network, and `size` is
its input (h, w). Each raises UnreadableCheckpoint with one sentence for a file that cannot be loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from model_store.optional import first_line
from model_store.pixels import Nchw
from training.errors import UnreadableCheckpoint
from training.optional import needs

LR_SIZE = (16, 64)  # height, width of the published networks, for files without a size

Outputs = Callable[[Nchw], list[np.ndarray]]


def openvino(model: Path) -> tuple[Outputs, tuple[int, int]]:
    with needs(f"running {model.name}", "openvino"):
        import openvino
    try:
        network = openvino.Core().read_model(model)
        sides = list(network.inputs[0].get_partial_shape())[2:]
        size = tuple(None if side.is_dynamic else side.get_length() for side in sides)
        # By default OpenVINO uses bf16 on processors that have it, so figures would depend on the machine.
        compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except (RuntimeError, IndexError) as exc:
        raise UnreadableCheckpoint(f"{model} cannot be loaded by OpenVINO: {first_line(exc)}") from exc
    return lambda lr: list(compiled([lr]).values()), _known(size)


def onnxruntime(model: Path) -> tuple[Outputs, tuple[int, int]]:
    with needs(f"running {model.name}", "onnxruntime"):
        import onnxruntime
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its exceptions derive directly from Exception
        raise UnreadableCheckpoint(f"{model} cannot be loaded by ONNX Runtime: {first_line(exc)}") from exc
    first = session.get_inputs()[0]
    size = tuple(side if isinstance(side, int) else None for side in first.shape[2:])
    return lambda lr: list(session.run(None, {first.name: lr})), _known(size)


def paddle(program: Path, weights: Path) -> tuple[Outputs, tuple[int, int]]:
    """Paddle's form has no input size, so LR_SIZE is returned."""
    with needs(f"running {program.name}", "paddle"):
        from paddle import inference
    try:
        config = inference.Config(str(program), str(weights))
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(os.cpu_count() or 1)
        predictor = inference.create_predictor(config)
    except Exception as exc:  # RuntimeError, ValueError or its own classes
        raise UnreadableCheckpoint(f"{program} cannot be loaded by Paddle: {first_line(exc)}") from exc

    def outputs(lr: Nchw) -> list[np.ndarray]:
        predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(np.ascontiguousarray(lr))
        predictor.run()
        return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]

    return outputs, LR_SIZE


def _known(size: tuple[int | None, ...]) -> tuple[int, int]:
    height, width = size if len(size) == 2 else (None, None)
    return height or LR_SIZE[0], width or LR_SIZE[1]
