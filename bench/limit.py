"""The upper limit of a network's speed: its matrix products and convolutions, at the processor's rate of each.

The rates are measured in OpenVINO on square products alone, and on the network's most common 3x3 convolution
alone. Other convolutions may be faster, so a network may reach more than its limit.
"""

import math
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

GEMM = 1024  # rows and columns of a square product: large enough for the full rate, small enough for the caches
CONV = (8, 64, 16, 64)  # the input of the network's most common convolution, 3x3, in batches of 8
CHAIN = 4  # products in a row, so that the overhead of a call is small beside them
HINTS = {"fp32": "f32", "bf16": "bf16"}


def precisions() -> list[str]:
    """The precisions of this processor, the fastest last."""
    return ["fp32", *(["bf16"] if "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else [])]


def operations(model: Any) -> dict[str, float]:  # noqa: ANN401 - an ov.Model whose sizes are fixed
    """Multiplications and additions in matrix products and convolutions; all other layers add about 1 %."""
    total = {"gemm": 0.0, "conv": 0.0}
    for node in model.get_ops():
        made = math.prod(node.output(0).shape)
        if node.get_type_name() == "Convolution":
            total["conv"] += 2 * made * math.prod(node.input(1).get_shape()[1:])
        elif node.get_type_name() == "MatMul":
            axis = -2 if node.get_attributes()["transpose_a"] else -1
            total["gemm"] += 2 * made * list(node.input(0).get_shape())[axis]
    return total


def rate(precision: str, kind: str) -> Callable[[object], float]:
    """A function that runs only products of one kind, and returns operations a second."""
    model, given = chain(kind)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": HINTS[precision]}
    request = ov.Core().compile_model(model, "CPU", hints).create_infer_request()

    def measure(_: object) -> float:
        request.infer([given])
        started = perf_counter()
        request.infer([given])
        return operations(model)[kind] / (perf_counter() - started)

    return measure


def chain(kind: str) -> tuple[Any, np.ndarray]:
    """An ov.Model and an input of it."""
    shape, weights = ((GEMM, GEMM),) * 2 if kind == "gemm" else (CONV, (CONV[1], CONV[1], 3, 3))
    given = node = ops.parameter(shape, np.float32)
    weight = ops.constant(np.random.default_rng(0).random(weights, np.float32) / weights[0])
    for _ in range(CHAIN):
        product = ops.matmul(node, weight, False, False) if kind == "gemm" else None
        node = ops.relu(product) if product else ops.convolution(node, weight, [1, 1], [1, 1], [1, 1], [1, 1])
    return ov.Model([node], [given], kind), np.ones(shape, np.float32)
