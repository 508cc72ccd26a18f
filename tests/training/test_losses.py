"""The text-focused loss, part by part against the parity kit, and its named switches."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

paddle = pytest.importorskip("paddle")
from paddle import Tensor  # noqa: E402

from training.architecture import RecogniserConfig  # noqa: E402
from training.errors import ConfigError  # noqa: E402
from training.losses import TextFocusedLoss, weighted_cross_entropy  # noqa: E402
from training.recogniser import Recogniser, RecogniserOutput  # noqa: E402
from training.text_focus import ALPHABET, LossConfig, encode_labels, weight_table  # noqa: E402

TINY = RecogniserConfig(stem=(4, 8), stages=(8, 8, 8, 8), blocks=(1, 1, 1, 1), width=32, heads=4, inner=32)


@pytest.fixture(scope="module")
def kit(shared_dir: Path) -> SimpleNamespace:
    expected = json.loads((shared_dir / "parity/paddleocr_expected.json").read_text())
    with np.load(shared_dir / "parity/paddleocr_io.npz") as arrays:
        return SimpleNamespace(labels=expected["labels"], loss=expected["loss"], **dict(arrays))


class KitRecogniser:
    """Answers with the recorded readings of the kit's pictures, as the real one does within 1e-4."""

    pretrained = True

    def __init__(self, kit: SimpleNamespace) -> None:
        self.kit = kit

    def freeze(self, *, dropout: bool) -> None:
        assert not dropout

    def __call__(self, images: Tensor, labels: object) -> RecogniserOutput:
        which = "hr" if np.array_equal(images.numpy(), self.kit.hr) else "sr"
        arrays = (getattr(self.kit, f"{which}_{part}") for part in ("logits", "attention"))
        return RecogniserOutput(*map(paddle.to_tensor, arrays))


@pytest.fixture
def recogniser() -> Recogniser:
    paddle.seed(3)
    made = Recogniser(TINY)
    made.pretrained = True
    return made


def crops(n: int, seed: int = 0) -> Tensor:
    drawn: Tensor = paddle.to_tensor(np.random.default_rng(seed).random((n, 3, 32, 128), np.float32))
    return drawn


def test_every_part_equals_paddleocr(kit: SimpleNamespace) -> None:
    loss = TextFocusedLoss(LossConfig(), KitRecogniser(kit))  # type: ignore[arg-type]
    parts = loss(paddle.to_tensor(kit.sr), paddle.to_tensor(kit.hr), kit.labels).floats()
    expected = kit.loss
    recognition = (expected["loss"] - expected["mse_loss"] - 10 * expected["attention_loss"]) / 0.0005
    assert parts["mse"] == pytest.approx(expected["mse_loss"], rel=1e-4)
    assert parts["attention"] == pytest.approx(expected["attention_loss"], rel=1e-4)
    assert parts["recognition"] == pytest.approx(recognition, rel=1e-4)
    assert parts["total"] == pytest.approx(expected["loss"], rel=1e-4)


def test_weight_table_is_exactly_the_kits(kit: SimpleNamespace) -> None:
    np.testing.assert_array_equal(weight_table(), kit.weight_table)


def test_weight_table_is_positive_and_cannot_be_changed() -> None:
    table = weight_table()
    assert table.shape == (len(ALPHABET), len(ALPHABET))
    assert (table > 0).all()
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 2


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_weighted_cross_entropy_is_the_published_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, 3, (6, 37)), rng.integers(0, 37, 6)
    weighted = weight_table()[targets] * np.exp(logits)  # (6, 37)
    rows = np.arange(6)
    expected = -np.log(weighted[rows, targets] / weighted.sum(1)).mean()
    ours = weighted_cross_entropy(
        paddle.to_tensor(logits), paddle.to_tensor(targets), paddle.to_tensor(np.log(weight_table()))
    )
    assert float(ours) == pytest.approx(expected, rel=1e-9)


def test_large_logits_stay_finite(recogniser: Recogniser) -> None:
    table = paddle.to_tensor(np.log(weight_table()).astype(np.float32))
    loss = weighted_cross_entropy(paddle.full([1, 37], 500.0), paddle.to_tensor([4]), table)
    assert np.isfinite(float(loss))


def test_text_focus_without_a_pretrained_recogniser_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is none"):
        TextFocusedLoss(LossConfig())
    with pytest.raises(ConfigError, match="its weights are random"):
        TextFocusedLoss(LossConfig(), Recogniser(TINY))


def test_without_text_focus_the_loss_is_the_mse_alone() -> None:
    parts = TextFocusedLoss(LossConfig(text_focus=False))(crops(2), crops(2, seed=1), ["any", "thing"])
    assert parts.floats().keys() == {"total", "mse"}
    assert float(parts.total) == float(parts.mse)


def test_the_same_picture_has_no_loss_but_that_of_reading(recogniser: Recogniser) -> None:
    parts = TextFocusedLoss(LossConfig(), recogniser)(crops(2), crops(2), ["exit", "a"]).floats()
    assert parts["mse"] == parts["attention"] == 0
    assert parts["total"] == pytest.approx(0.0005 * parts["recognition"])


def test_gradients_reach_the_picture_and_never_the_recogniser(recogniser: Recogniser) -> None:
    config = LossConfig(recognition_weight=1.0)
    sr = crops(2)
    sr.stop_gradient = False
    before = {name: value.numpy().copy() for name, value in recogniser.state_dict().items()}
    parts = TextFocusedLoss(config, recogniser)(sr, crops(2, seed=1), ["exit", "a"])
    (parts.total - parts.mse).backward()
    assert sr.grad is not None
    assert float(sr.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in recogniser.parameters())
    for name, value in recogniser.state_dict().items():  # nor do batch statistics move
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_fudanocr_reports_the_hr_reading_which_moves_nothing(recogniser: Recogniser) -> None:
    config = LossConfig.fudanocr()
    sr = crops(1)
    sr.stop_gradient = False
    parts = TextFocusedLoss(config, recogniser)(sr, crops(1, seed=1), ["exit"])
    assert parts.recognition is not None
    assert parts.recognition.stop_gradient
    figures = parts.floats()
    unscaled = figures["mse"] + 10 * figures["attention"] + 0.0005 * figures["recognition"]
    assert figures["total"] == pytest.approx(100 * unscaled, rel=1e-5)


def test_recogniser_dropout_is_off_unless_asked_for(recogniser: Recogniser) -> None:
    recogniser.train()

    def attention(config: LossConfig) -> float:
        return TextFocusedLoss(config, recogniser)(crops(1), crops(1), ["exit"]).floats()["attention"]

    assert attention(LossConfig()) == 0
    assert attention(LossConfig.paddleocr()) > 0
    norms = [layer for layer in recogniser.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    assert not any(norm.training for norm in norms)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"attention_weight": -1.0}, "attention_weight is -1.0"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"recognition_of": "lr"}, "recognition_of is 'lr'"),
    ],
)
def test_impossible_options_are_named(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LossConfig(**setting)  # type: ignore[arg-type]


def test_labels_become_what_is_fed_and_what_is_expected() -> None:
    batch = encode_labels(["A-1!", "", "zz9"])
    assert batch.lengths.tolist() == [3, 1, 4]
    assert batch.inputs.tolist() == [[0, 11, 2, 0], [0, 0, 0, 0], [0, 36, 36, 10]]
    assert batch.targets.tolist() == [11, 2, 0, 0, 36, 36, 10, 0]
    assert batch.positions.tolist() == [0, 1, 2, 4, 8, 9, 10, 11]


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6))
def test_targets_spell_the_normalised_words(labels: list[str]) -> None:
    batch = encode_labels(labels)
    spelled = "".join(ALPHABET[index] for index in batch.targets)
    assert spelled.count("-") == len(labels)
    assert len(spelled) == batch.lengths.sum() == len(batch.positions)
    # what is fed at a place is what was expected one place before
    fed = batch.inputs.ravel()[batch.positions]
    starts = np.concatenate([[0], np.cumsum(batch.lengths)[:-1]])
    inner = np.setdiff1d(np.arange(len(fed)), starts)
    np.testing.assert_array_equal(fed[inner], batch.targets[inner - 1])


def test_no_labels_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="no labels"):
        encode_labels([])


def test_pictures_without_a_label_count_in_the_mse_alone(recogniser: Recogniser) -> None:
    loss = TextFocusedLoss(LossConfig(), recogniser)
    draw = np.random.default_rng(4)
    sr, hr = (paddle.to_tensor(draw.random((3, 3, 32, 128), np.float32)) for _ in range(2))
    partly, labelled = loss(sr, hr, ["ab", "", "c"]).floats(), loss(sr[::2], hr[::2], ["ab", "c"]).floats()
    for part in ("attention", "recognition"):
        assert partly[part] == pytest.approx(labelled[part], rel=1e-5)
    assert partly["mse"] == pytest.approx(float(((sr - hr) ** 2).mean()), rel=1e-5)
    none = loss(sr, hr, ["", "", ""]).floats()
    assert none["total"] == none["mse"] == pytest.approx(partly["mse"])
