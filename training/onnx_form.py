"""The ONNX form: Paddle's inference model converted by paddle2onnx, with its graph simplified.

inference.json, inference.pdiparams -> paddle2onnx -> names, no dead nodes, softplus, metadata -> model.onnx
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import paddle2onnx

from training.errors import ExportError

OPSET = 17  # the first with LayerNormalization


def write_onnx(paddle_folder: Path, out: Path, *, metadata: Mapping[str, str], any_size: bool = False) -> None:
    """Write `out` with input `lr`, output `sr` and a free batch size. Raises ExportError for an invalid graph.

    any_size: height and width of the program are free, too.
    """
    out.parent.mkdir(parents=True)
    # "None": paddle2onnx's default optimiser installs packages while it runs
    paddle2onnx.export(
        str(paddle_folder / "inference.json"),
        str(paddle_folder / "inference.pdiparams"),
        str(out),
        opset_version=OPSET,
        optimize_tool="None",
    )
    model = onnx.load(out)
    tidy(model.graph, free=("N", None, "H", "W") if any_size else ("N",))
    spell_softplus(model.graph)
    onnx.helper.set_model_props(model, dict(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        raise ExportError(f"paddle2onnx wrote an invalid graph: {exc}") from exc
    onnx.save(model, out)


def tidy(graph: onnx.GraphProto, *, free: Sequence[str | None] = ("N",)) -> None:
    """Name output and free axes; drop Identity nodes and unused constants."""
    (lr,), (sr,) = graph.input, graph.output
    same = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}

    def original(name: str) -> str:
        while name in same:
            name = same[name]
        return name

    nodes = [node for node in graph.node if node.op_type != "Identity"]
    last = original(sr.name)
    for node in nodes:
        node.input[:] = [original(name) for name in node.input]
        node.output[:] = ["sr" if name == last else name for name in node.output]
        if node.op_type == "Pad" and any(attribute.s == b"edge" for attribute in node.attribute):
            del node.input[2:]  # the pad value: unused in edge mode, and paddle2onnx leaves it uninitialised
    read = {name for node in nodes for name in node.input}
    constants = [constant for constant in graph.initializer if constant.name in read]
    nodes = [node for node in nodes if read.union(["sr"]).intersection(node.output)]
    _replace(graph.node, nodes)
    _replace(graph.initializer, constants)
    del graph.value_info[:]
    sr.name = "sr"
    for value, times in ((lr, ""), (sr, "_sr")):
        for axis, name in enumerate(free):
            if name:
                value.type.tensor_type.shape.dim[axis].dim_param = name if name == "N" else name + times


def spell_softplus(graph: onnx.GraphProto) -> None:
    """Replace Softplus by log(1 + exp(x)), which ONNX Runtime vectorises, unlike its Softplus.

    OpenVINO recognises mish in both forms. If exp overflows, softplus is infinite and mish is still x.
    """
    nodes = []
    for node in graph.node:
        if node.op_type != "Softplus":
            nodes.append(node)
            continue
        (x,), (y,) = node.input, node.output
        nodes += [
            onnx.helper.make_node("Exp", [x], [f"{y}/exp"]),
            onnx.helper.make_node("Add", [f"{y}/exp", "one"], [f"{y}/sum"]),
            onnx.helper.make_node("Log", [f"{y}/sum"], [y]),
        ]
    _replace(graph.node, nodes)
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones([], np.float32), "one"))


def _replace(field: Any, items: Sequence[Any]) -> None:  # noqa: ANN401 - a repeated field of either type
    kept = list(items)
    del field[:]
    field.extend(kept)
