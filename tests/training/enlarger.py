"""A network for tests: enlarges twice by nearest neighbour, as an ONNX file that any runtime loads."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper


def write_enlarger(path: Path, *, lr_too: bool = False, height: int = 16, width: int = 64) -> Path:
    """float32 (N, 3, height, width) -> twice the size; lr_too: LR as a first output, as PaddleOCR exports."""
    size: list[str | int | None] = ["N", 3, height, width]
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["sr"], mode="nearest", nearest_mode="floor",
                              coordinate_transformation_mode="asymmetric")]  # fmt: skip
    enlarged: list[str | int | None] = ["N", 3, 2 * height, 2 * width]
    outputs = [helper.make_tensor_value_info("sr", TensorProto.FLOAT, enlarged)]
    if lr_too:
        nodes.insert(0, helper.make_node("Identity", ["x"], ["lr"]))
        outputs.insert(0, helper.make_tensor_value_info("lr", TensorProto.FLOAT, size))
    scales = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)]
    graph = helper.make_graph(nodes, "enlarger", inputs, outputs, [scales])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
