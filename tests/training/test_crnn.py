"""CRNN from a FudanOCR file, against the same network written independently in PyTorch."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("paddle")
torch = pytest.importorskip("torch")
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from training.crnn import Crnn, _text, grey_inputs  # noqa: E402
from training.errors import CheckpointError, KeyMismatch  # noqa: E402
from training.ocr import open_reader  # noqa: E402


class Recurrent(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(inputs, 256, bidirectional=True)
        self.embedding = nn.Linear(512, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.embedding(self.rnn(x)[0])
        return y


class TorchCrnn(nn.Module):
    """The published structure: grey (N, 1, 32, 100) -> (26, N, 37)."""

    def __init__(self) -> None:
        super().__init__()
        half, flat = nn.MaxPool2d(2, 2), nn.MaxPool2d((2, 2), (2, 1), (0, 1))
        self.cnn = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv0=nn.Conv2d(1, 64, 3, 1, 1), relu0=nn.ReLU(), pooling0=half,
                conv1=nn.Conv2d(64, 128, 3, 1, 1), relu1=nn.ReLU(), pooling1=half,
                conv2=nn.Conv2d(128, 256, 3, 1, 1), batchnorm2=nn.BatchNorm2d(256), relu2=nn.ReLU(),
                conv3=nn.Conv2d(256, 256, 3, 1, 1), relu3=nn.ReLU(), pooling2=flat,
                conv4=nn.Conv2d(256, 512, 3, 1, 1), batchnorm4=nn.BatchNorm2d(512), relu4=nn.ReLU(),
                conv5=nn.Conv2d(512, 512, 3, 1, 1), relu5=nn.ReLU(), pooling3=flat,
                conv6=nn.Conv2d(512, 512, 2), batchnorm6=nn.BatchNorm2d(512), relu6=nn.ReLU(),
            )
        )  # fmt: skip
        self.rnn = nn.Sequential(Recurrent(512, 256), Recurrent(256, 37))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.rnn(self.cnn(x).squeeze(2).permute(2, 0, 1))
        return y


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[TorchCrnn, Path]:
    torch.manual_seed(5)
    network = TorchCrnn().eval()
    for name, value in network.state_dict().items():  # so that nothing is 0 or 1 by accident
        if name.endswith(("running_mean", "running_var")):
            value.copy_(torch.rand(value.shape) + 0.5)
    with torch.no_grad():  # as after training: logits that differ by whole numbers
        for parameter in network.rnn.parameters():
            parameter.mul_(3)
    path = tmp_path_factory.mktemp("crnn") / "crnn.pth"
    torch.save(network.state_dict(), path)
    return network, path


def crops() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [
        rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((32, 128), (16, 64), (48, 90))
    ]


def reference_inputs(crops: list[np.ndarray]) -> Tensor:
    """As FudanOCR prepares them: bicubic by PyTorch, then grey."""
    rgb = [torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255 for crop in crops]
    stretched = torch.cat([F.interpolate(picture, (32, 100), mode="bicubic") for picture in rgb])
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey: Tensor = (stretched * weights).sum(1, keepdim=True)
    return grey


def test_inputs_are_those_of_the_published_evaluation() -> None:
    np.testing.assert_allclose(grey_inputs(crops()), reference_inputs(crops()).numpy(), atol=1e-5)


def test_logits_equal_the_same_weights_in_pytorch(published: tuple[TorchCrnn, Path]) -> None:
    network, path = published
    with torch.no_grad():
        expected = network(reference_inputs(crops())).transpose(0, 1).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(Crnn(path).logits(grey_inputs(crops())), expected, atol=1e-4, rtol=0)


def test_a_reader_of_that_file_reads_any_number_of_crops(
    published: tuple[TorchCrnn, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.crnn.BATCH_SIZE", 4)
    reader = open_reader(f"crnn:{published[1]}")
    assert reader.read([]) == []
    assert reader.read(crops() * 2) == reader.read(crops()) * 2  # more than a batch
    assert (reader.name, len(reader.version)) == ("crnn", 12)


def test_places_become_text_by_joining_repetitions_and_dropping_blanks() -> None:
    assert _text([0, 12, 12, 0, 12, 1, 0, 0, 36, 36]) == "bb0z"


def test_another_file_is_refused_by_name(tmp_path: Path, published: tuple[TorchCrnn, Path]) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth is not a file"):
        open_reader(f"crnn:{tmp_path / 'none.pth'}")
    state = published[0].state_dict()
    del state["cnn.conv0.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(KeyMismatch, match=r"cut\.pth does not fit the network: 1 missing: cnn\.conv0\.weight"):
        open_reader(f"crnn:{tmp_path / 'cut.pth'}")
