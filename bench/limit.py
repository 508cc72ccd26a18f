"""Upper limit of the network's speed: the processor's rate of products over the products in the network."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

GEMM = 1024  # rows and columns of a square product: large enough for the full rate, small enough for the caches
CONV = (8, 64, 16, 64)  # the input of the network's most common convolution, 3x3, in batches of 8
CHAIN = 4  # products in a row, so that the overhead of a call is small beside them
HINTS = {"fp32": "f32", "bf16": "bf16"}
Operations = dict[str, float]  # by kind: "gemm", "conv"


def operations(model: Any) -> Operations:  # noqa: ANN401 - an ov.Model whose sizes are fixed
    """Multiplications and additions in the convolutions and matrix products; all other layers add about 1 %."""
    total = {"gemm": 0.0, "conv": 0.0}
    for node in model.get_ops():
        made = math.prod(node.output(0).shape)
        if node.get_type_name() == "Convolution":
            total["conv"] += 2 * made * math.prod(node.input(1).get_shape()[1:])
        elif node.get_type_name() == "MatMul":
            axis = -2 if node.get_attributes()["transpose_a"] else -1
            total["gemm"] += 2 * made * list(node.input(0).get_shape())[axis]
    return total


def network_operations(onnx: Path, height: int, width: int) -> Operations:
    """Operations for one image through the served network."""
    import openvino as ov

    model = ov.Core().read_model(onnx)
    model.reshape([1, 3, height, width])
    return operations(model)


def products(precision: str) -> Callable[[str], float]:
    """A function that runs only products of a kind, "gemm" or "conv", and returns operations a second."""
    import openvino as ov

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": HINTS[precision]}
    models = {kind: _chain(kind) for kind in ("gemm", "conv")}
    requests = {k: ov.Core().compile_model(m, "CPU", config).create_infer_request() for k, m in models.items()}
    draw = np.random.default_rng(0)

    def rate(kind: str) -> float:
        given = draw.random(tuple(models[kind].input(0).shape), np.float32)
        requests[kind].infer([given])
        started = perf_counter()
        requests[kind].infer([given])
        return operations(models[kind])[kind] / (perf_counter() - started)

    return rate


def _chain(kind: str) -> Any:  # noqa: ANN401 - an ov.Model
    import openvino as ov
    from openvino import opset13 as ops

    shape = (GEMM, GEMM) if kind == "gemm" else CONV
    given = node = ops.parameter(shape, np.float32)
    draw = np.random.default_rng(0)
    for _ in range(CHAIN):
        if kind == "gemm":
            weight = ops.constant(draw.random((GEMM, GEMM), np.float32) / GEMM)
            node = ops.relu(ops.matmul(node, weight, False, False))
        else:
            weight = ops.constant(draw.random((CONV[1], CONV[1], 3, 3), np.float32) / CONV[1])
            node = ops.convolution(node, weight, [1, 1], [1, 1], [1, 1], [1, 1])
    return ov.Model([node], [given], kind)
