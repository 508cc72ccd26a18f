"""A published recogniser in the loss: what it asks for, and how it enters a run."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("rapidocr")
from PIL import Image, ImageDraw, ImageFont  # noqa: E402

from training.config import TrainConfig  # noqa: E402
from training.config_file import build_config  # noqa: E402
from training.data.samples import Batch  # noqa: E402
from training.engines import paddle as paddle_engine  # noqa: E402
from training.engines.torch import telescope  # noqa: E402
from training.engines.torch_ocr import OcrLoss  # noqa: E402
from training.errors import ConfigError  # noqa: E402


@pytest.fixture(scope="module")
def loss() -> OcrLoss:
    return OcrLoss("rapidocr-v6")


def word(text: str) -> np.ndarray:
    """float32 (1, 3, 32, 128) in [0, 1]"""
    image = Image.new("RGB", (128, 32), "white")
    ImageDraw.Draw(image).text((8, 2), text, fill="black", font=ImageFont.load_default(24))
    return np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255


def test_it_asks_nothing_of_a_picture_that_reads_the_same_and_much_of_another_word(loss: OcrLoss) -> None:
    hr, other = (torch.from_numpy(word(text)) for text in ("market", "zipper"))
    assert loss(hr, hr).item() == pytest.approx(0, abs=1e-5)
    assert loss(other, hr).item() > 0.5


def test_following_its_gradient_makes_a_blurred_word_read_more_like_the_sharp_one(loss: OcrLoss) -> None:
    hr = torch.from_numpy(word("market"))
    small = torch.nn.functional.avg_pool2d(hr, 6, stride=6, ceil_mode=True)
    sr = torch.nn.functional.interpolate(small, hr.shape[2:], mode="bilinear").requires_grad_()
    before = loss(sr, hr)
    (gradient,) = torch.autograd.grad(before, sr)
    after = loss(sr - 0.5 * gradient / gradient.norm(), hr)
    assert after.item() < before.item()


def test_every_picture_pulls_with_the_same_force(loss: OcrLoss) -> None:
    hr = torch.from_numpy(np.concatenate([word("market"), word("zipper")]))
    sr = torch.stack([0.9 * hr[0], torch.rand_like(hr[1])]).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(sr, hr), sr)
    torch.testing.assert_close(gradient.flatten(1).norm(dim=1), torch.full((2,), 0.5))


def settings(**top: object) -> TrainConfig:
    sizes = {"height": 16, "width": 64, "blocks": 1, "hidden": 2, "stn": False}
    tree = {"out": "unused", "device": "cpu", "data": {"rendered": 1, "rendered_validation": 1}, "model": sizes,
            "loss": {"text_focus": False, "reader": "rapidocr-v6", "reader_weight": 0.5}, **top}  # fmt: skip
    return build_config(tree, TrainConfig, origin="test")


def test_a_step_reports_the_reading_and_adds_it_by_its_weight() -> None:
    lr = np.random.default_rng(0).random((1, 3, 16, 64), np.float32)
    values = telescope(settings()).step(Batch(("market",), lr, word("market")), step=0, learning_rate=0.001)
    assert values["reading"] > 0
    assert values["loss"] == pytest.approx(values["mse"] + 0.5 * values["reading"], rel=1e-5)


def test_the_paddle_engine_says_that_it_has_no_such_loss() -> None:
    with pytest.raises(ConfigError, match=r"loss\.reader needs the torch engine"):
        paddle_engine.telescope(settings())
