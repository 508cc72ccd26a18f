"""An ONNX graph as a PyTorch module, so that gradients flow through networks that are only published as ONNX.

    OnnxModule(path)(images) -> the graph's output

Supports the operators of the PP-OCR recognisers (v4 and v6), as ONNX specifies them; any other raises
UnknownOperator. Weights are frozen and batch normalisation uses its running statistics.

Shapes and integer constants stay Python lists, so that a forward pass never waits for the GPU and can be captured
as a CUDA graph.
"""

# ruff: noqa: ANN401  (attributes come as the file holds them)
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from training.errors import TrainingError


class UnknownOperator(TrainingError):
    """The graph has an operator that this module does not support."""


class UnreadableNetwork(TrainingError):
    """The file is missing or holds no ONNX graph."""


class OnnxModule(nn.Module):
    def __init__(self, path: Path, *, before_softmax: bool = False) -> None:
        """before_softmax: return the logits, which are the input of the last softmax.

        metadata: entries of the file, such as a recogniser's characters. Raises UnreadableNetwork, or
        UnknownOperator naming one.
        """
        super().__init__()
        try:
            model = onnx.load(str(path))
        except (OSError, DecodeError) as exc:
            raise UnreadableNetwork(f"{path} is no ONNX file: {exc}") from exc
        graph, self.metadata = model.graph, {entry.key: entry.value for entry in model.metadata_props}
        last = len(graph.node)
        if before_softmax:
            last = max(i for i, node in enumerate(graph.node) if node.op_type == "Softmax")
        self._names: dict[str, str] = {}  # of tensors on the device: the graph's name -> the buffer's
        self._integers: dict[str, Any] = {"": None}  # "" names an omitted input
        for tensor in graph.initializer:
            self._keep(tensor.name, tensor)
        self._nodes = []
        for node in graph.node[:last]:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], attributes["value"])
                continue
            if node.op_type not in _OPERATORS:
                raise UnknownOperator(f"{path} holds the operator {node.op_type}, which is not supported")
            self._nodes.append((_OPERATORS[node.op_type], list(node.input), list(node.output), attributes))
        self._input = graph.input[0].name
        self._output = graph.node[last].input[0] if before_softmax else graph.output[0].name

    def keep_outputs(self, kept: Tensor, of: int) -> None:
        """Compute only some of the `of` outputs, by narrowing every weight whose last axis has that length."""
        for name in self._names.values():
            weight = getattr(self, name)
            if weight.ndim and weight.shape[-1] == of:
                setattr(self, name, weight[..., kept].contiguous())

    def _keep(self, name: str, tensor: onnx.TensorProto) -> None:
        array = numpy_helper.to_array(tensor)
        if np.issubdtype(array.dtype, np.integer):
            self._integers[name] = array.tolist()
            return
        self._names[name] = f"weight_{len(self._names)}"
        self.register_buffer(self._names[name], torch.from_numpy(array.copy()), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        values: dict[str, Any] = {name: getattr(self, kept) for name, kept in self._names.items()}
        values |= self._integers
        values[self._input] = images
        for operator, inputs, outputs, attributes in self._nodes:
            values[outputs[0]] = operator(*(values[name] for name in inputs), **attributes)
        return values[self._output]


def _conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, strides: Any, group: int = 1, **rest: Any
) -> Tensor:
    x, padding = _padded(x, weight.shape[2:], strides, **rest)
    return F.conv2d(
        x, weight, bias, stride=strides, padding=padding, dilation=rest.get("dilations", 1), groups=group
    )


def _max_pool(x: Tensor, *, kernel_shape: Any, strides: Any, **rest: Any) -> Tensor:
    x, padding = _padded(x, kernel_shape, strides, value=float("-inf"), **rest)
    return F.max_pool2d(x, kernel_shape, strides, padding, ceil_mode=bool(rest.get("ceil_mode")))


def _average_pool(x: Tensor, *, kernel_shape: Any, strides: Any, pads: Any = (0, 0, 0, 0), **rest: Any) -> Tensor:
    assert not rest.get("count_include_pad") or not any(pads)
    return F.avg_pool2d(x, kernel_shape, strides, list(pads[:2]), ceil_mode=bool(rest.get("ceil_mode")))


def _padded(
    x: Tensor,
    kernel: Any,
    strides: Any,
    *,
    pads: Any = (0, 0, 0, 0),
    auto_pad: bytes = b"NOTSET",
    value: float = 0,
    **_: Any,
) -> tuple[Tensor, list[int]]:
    """The image and the symmetric padding left to PyTorch; asymmetric padding is applied here."""
    top, left, bottom, right = pads
    if auto_pad == b"SAME_UPPER":
        need = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(x.shape[2:], kernel, strides, strict=True)]
        top, left = need[0] // 2, need[1] // 2
        bottom, right = need[0] - top, need[1] - left
    if (top, left) == (bottom, right):
        return x, [top, left]
    return F.pad(x, (left, right, top, bottom), value=value), [0, 0]


def _batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float = 1e-5, **_: Any
) -> Tensor:
    return F.batch_norm(x, mean, variance, weight, bias, eps=epsilon)


def _reshape(x: Any, shape: list[int], **_: Any) -> Any:
    if not isinstance(x, Tensor):
        assert not shape, "the only integers reshaped are lists of one, to a number"
        return x[0] if isinstance(x, list) else x
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape)])


def _slice(
    x: Any, starts: list[int], ends: list[int], axes: list[int] | None = None, steps: list[int] | None = None
) -> Any:
    cuts = [slice(*cut) for cut in zip(starts, ends, steps or [1] * len(starts), strict=True)]
    if isinstance(x, list):
        return x[cuts[0]]
    index = [slice(None)] * x.ndim
    for axis, cut in zip(axes or range(len(cuts)), cuts, strict=True):
        index[axis] = cut
    return x[tuple(index)]


def _concat(*parts: Any, axis: int) -> Any:
    if isinstance(parts[0], list):
        return [number for part in parts for number in _listed(part)]
    return torch.cat(parts, axis)


def _squeeze(x: Any, axes: Any = None) -> Any:
    return x[0] if isinstance(x, list) else x.squeeze(tuple(axes))


def _unsqueeze(x: Any, axes: Any = None) -> Any:
    if not isinstance(x, Tensor):
        return _listed(x)
    for axis in sorted(axes):
        x = x.unsqueeze(axis)
    return x


def _listed(x: Any) -> list[int]:
    return x if isinstance(x, list) else [x]


def _reduce_mean(x: Tensor, axes: Any = None, *, keepdims: int = 1, **_: Any) -> Tensor:
    return x.mean(dim=list(axes), keepdim=bool(keepdims))


def _cast(x: Any, *, to: int) -> Any:
    if not isinstance(x, Tensor):
        return x
    return x.to(getattr(torch, str(onnx.helper.tensor_dtype_to_np_dtype(to))))


_OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": torch.add,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": lambda x, low=None, high=None: x.clamp(low, high),
    "Concat": _concat,
    "Conv": _conv,
    "Div": torch.div,
    "Erf": torch.erf,
    "GlobalAveragePool": lambda x: x.mean(dim=(2, 3), keepdim=True),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: (alpha * x + beta).clamp(0, 1),
    "Identity": lambda x: x,
    "MatMul": torch.matmul,
    "MaxPool": _max_pool,
    "Mul": torch.mul,
    "Pow": torch.pow,
    "ReduceMean": _reduce_mean,
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Shape": lambda x: list(x.shape),
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "Sqrt": torch.sqrt,
    "Squeeze": _squeeze,
    "Sub": torch.sub,
    "Transpose": lambda x, perm: x.permute(perm),
    "Unsqueeze": _unsqueeze,
}
