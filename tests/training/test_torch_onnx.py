"""An ONNX graph in PyTorch computes what ONNX Runtime computes, and lets gradients through."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

import onnxruntime as ort
import torch

from training.engines.torch_onnx import OnnxModule, UnknownOperator

READERS = {
    "PP-OCRv6": ("rapidocr", "models/PP-OCRv6_rec_small.onnx"),
    "PP-OCRv4": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx"),
}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Path:
    package, path = READERS[request.param]
    pytest.importorskip(package)
    return Path(str(files(package) / path))


def test_a_reader_gives_what_onnx_runtime_gives(reader: Path) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, 48, 160)).astype(np.float32)
    session = ort.InferenceSession(str(reader))
    (expected,) = session.run(None, {session.get_inputs()[0].name: images})
    with torch.no_grad():
        answered = OnnxModule(reader)(torch.from_numpy(images)).numpy()
    assert np.abs(answered - expected).max() < 1e-4


def test_outputs_that_are_kept_are_what_they_were(reader: Path) -> None:
    images, kept = torch.rand(1, 3, 48, 96) * 2 - 1, torch.tensor([0, 5, 17])
    whole, part = (OnnxModule(reader, before_softmax=True) for _ in range(2))
    classes = len(whole.metadata["character"].split("\n")) + 2
    part.keep_outputs(kept, of=classes)
    with torch.no_grad():
        logits, few = whole(images), part(images)
    assert logits.shape[-1] == classes
    torch.testing.assert_close(few, logits[..., kept])


def test_gradients_reach_the_picture_and_no_weight(reader: Path) -> None:
    net = OnnxModule(reader).train()
    images = torch.rand(1, 3, 48, 96, requires_grad=True)
    net(images).max(-1).values.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not list(net.parameters())


def test_an_operator_that_is_not_known_is_named(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Einsum", ["x"], ["y"], equation="i->i")
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph([node], "g", [value("x", kind, [1])], [value("y", kind, [1])])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "g.onnx")
    with pytest.raises(UnknownOperator, match=r"g\.onnx holds the operator Einsum"):
        OnnxModule(tmp_path / "g.onnx")
