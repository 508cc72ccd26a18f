"""The recogniser of the text-focused loss, against the parity kit and the laws of its structure."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")
from paddle import Tensor  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

from training.architecture import RecogniserConfig, position_encoding  # noqa: E402
from training.errors import ConfigError, KeyMismatch, UnreadableCheckpoint  # noqa: E402
from training.losses import TextFocusedLoss  # noqa: E402
from training.recogniser import Recogniser, load_recogniser_state  # noqa: E402
from training.recogniser_file import load_recogniser, save_recogniser  # noqa: E402
from training.text_focus import LossConfig, encode_labels  # noqa: E402

KIT_PREFIX = "transform.transformer."
TINY = RecogniserConfig(stem=(4, 8), stages=(8, 12, 12, 16), blocks=(1, 1, 2, 1), width=32, heads=4, inner=48)


@pytest.fixture
def tiny() -> Recogniser:
    paddle.seed(7)
    recogniser = Recogniser(TINY)
    for norm in recogniser.sublayers():  # statistics as after training, so that nothing is accidentally 0 or 1
        if isinstance(norm, paddle.nn.BatchNorm2D):
            norm._mean.set_value(paddle.randn(norm._mean.shape) * 0.1)
            norm._variance.set_value(paddle.rand(norm._variance.shape) + 0.5)
    recogniser.eval()
    return recogniser


def pictures(n: int, seed: int = 0) -> Tensor:
    drawn: Tensor = paddle.to_tensor(np.random.default_rng(seed).random((n, 3, 32, 128), np.float32))
    return drawn


@pytest.fixture(scope="module")
def kit_shapes(shared_dir: Path) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = json.loads((shared_dir / "parity/paddleocr_state_dict.json").read_text())
    return shapes


def kit_weight(index: int, name: str, shape: list[int]) -> np.ndarray:
    """The kit's rule for the weight at `index` among all sorted keys."""
    s = np.random.RandomState(1000 + index).standard_normal(int(np.prod(shape))).reshape(shape)
    last = name.rpartition(".")[2]
    one_dimensional = {"_variance": 1 + 0.25 * s**2, "_mean": 0.05 * s, "a_2": 1 + 0.1 * s, "b_2": 0.05 * s}
    if last in one_dimensional:
        weight = one_dimensional[last]
    elif "bias" in last:
        weight = 0.02 * s
    elif len(shape) == 1:
        weight = 1 + 0.1 * s
    else:
        weight = s * np.sqrt(2 / (np.prod(shape[1:]) if len(shape) == 4 else shape[0]))
    return np.asarray(weight, np.float32)


@pytest.fixture(scope="module")
def kit_recogniser(kit_shapes: dict[str, list[int]]) -> Recogniser:
    weights = {
        name: kit_weight(index, name, kit_shapes[name])
        for index, name in enumerate(sorted(kit_shapes))
        if name.startswith(KIT_PREFIX) and not name.endswith("pe.pe")
    }
    recogniser = Recogniser(RecogniserConfig(dropout_mode="downscale_in_infer"))
    load_recogniser_state(recogniser, weights, origin="the kit")
    recogniser.eval()
    return recogniser


@pytest.mark.slow
def test_logits_and_attention_equal_paddleocr(shared_dir: Path, kit_recogniser: Recogniser) -> None:
    labels = encode_labels(json.loads((shared_dir / "parity/paddleocr_expected.json").read_text())["labels"])
    with np.load(shared_dir / "parity/paddleocr_io.npz") as kit, paddle.no_grad():
        for picture in ("hr", "sr"):
            reading = kit_recogniser(paddle.to_tensor(kit[picture]), labels)
            np.testing.assert_allclose(reading.logits.numpy(), kit[f"{picture}_logits"], atol=1e-4, rtol=0)
            np.testing.assert_allclose(reading.attention.numpy(), kit[f"{picture}_attention"], atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_loss_from_pictures_alone_equals_paddleocr(shared_dir: Path, kit_recogniser: Recogniser) -> None:
    known = json.loads((shared_dir / "parity/paddleocr_expected.json").read_text())
    loss = TextFocusedLoss(LossConfig(), kit_recogniser)
    with np.load(shared_dir / "parity/paddleocr_io.npz") as kit, paddle.no_grad():
        parts = loss(paddle.to_tensor(kit["sr"]), paddle.to_tensor(kit["hr"]), known["labels"]).floats()
    expected = known["loss"]
    assert parts["mse"] == pytest.approx(expected["mse_loss"], rel=1e-4)
    assert parts["attention"] == pytest.approx(expected["attention_loss"], rel=1e-4)
    assert parts["total"] == pytest.approx(expected["loss"], rel=1e-4)


def test_parameter_names_and_shapes_are_the_published_ones(kit_shapes: dict[str, list[int]]) -> None:
    ours = {name: list(value.shape) for name, value in Recogniser().state_dict().items()}
    published = {
        name.removeprefix(KIT_PREFIX): shape
        for name, shape in kit_shapes.items()
        if name.startswith(KIT_PREFIX) and "compress_attention_linear" not in name and not name.endswith("pe.pe")
    }
    assert ours == published


def test_a_word_is_read_the_same_beside_a_longer_one(tiny: Recogniser) -> None:
    images = pictures(2)
    both = tiny(images, encode_labels(["ab", "muchlonger"])).logits
    alone = tiny(images[:1], encode_labels(["ab"])).logits
    np.testing.assert_allclose(both[:3].numpy(), alone.numpy(), atol=1e-5)


def test_a_character_is_predicted_from_what_precedes_it_only(tiny: Recogniser) -> None:
    features = tiny.encode(pictures(1))
    first, _ = tiny.decode(features, paddle.to_tensor([[0, 5, 9, 9]]))
    second, _ = tiny.decode(features, paddle.to_tensor([[0, 5, 20, 3]]))
    np.testing.assert_allclose(first[:, :2].numpy(), second[:, :2].numpy(), atol=1e-6)
    assert float((first - second)[:, 2:].abs().max()) > 1e-3


def test_attention_is_a_share_of_the_image_for_each_head_and_character(tiny: Recogniser) -> None:
    attention = tiny(pictures(2), encode_labels(["exit", "a"])).attention
    assert attention.shape == [2, 4, 5, 8 * 32]
    np.testing.assert_allclose(attention.sum(-1).numpy(), 1, atol=1e-5)


def test_paddleocr_dropout_scales_attention_in_evaluation(tiny: Recogniser) -> None:
    scaled = Recogniser(RecogniserConfig(**{**asdict(TINY), "dropout_mode": "downscale_in_infer"}))
    scaled.set_state_dict(tiny.state_dict())
    scaled.eval()
    attention = scaled(pictures(1), encode_labels(["exit"])).attention
    np.testing.assert_allclose(attention.sum(-1).numpy(), 0.9, atol=1e-5)


def test_grey_is_the_luma_of_red_green_and_blue(tiny: Recogniser) -> None:
    images = pictures(1)
    grey = (images * paddle.to_tensor([0.299, 0.587, 0.114]).reshape([1, 3, 1, 1])).sum(1, keepdim=True)
    np.testing.assert_allclose(tiny.encode(images).numpy(), tiny.encode(grey).numpy(), atol=1e-5)


def test_reading_freely_agrees_with_reading_the_same_word_given(tiny: Recogniser) -> None:
    images = pictures(3)
    words = tiny.read(images, longest=6)
    given = encode_labels(words)
    answers = tiny(images, given).logits.argmax(-1).numpy()
    ends = np.cumsum(given.lengths) - 1  # a word cut off at `longest` need not end there
    keep = np.setdiff1d(np.arange(len(answers)), ends)
    assert max(map(len, words)) > 0
    np.testing.assert_array_equal(answers[keep], given.targets[keep])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")  # Paddle, any BatchNorm
def test_a_small_recogniser_learns_to_read(tiny: Recogniser) -> None:
    images, words = pictures(3), ["exit", "7up", "a"]
    labels = encode_labels(words)
    optimiser = paddle.optimizer.Adam(2e-3, parameters=tiny.parameters())
    tiny.train()
    for _ in range(60):
        logits = tiny(images, labels).logits
        loss = paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(labels.targets))
        loss.backward()
        optimiser.step()
        optimiser.clear_grad()
    tiny.eval()
    assert tiny.read(images) == words


def as_fudanocr(recogniser: Recogniser) -> dict[str, np.ndarray]:
    """The state as FudanOCR's DataParallel would save it, with what only it stores."""
    linear = {n for n, layer in recogniser.named_sublayers() if isinstance(layer, paddle.nn.Linear)}
    renamed = {"_mean": "running_mean", "_variance": "running_var"}
    state = {"module.pe.pe": np.zeros((1, 5000, 16), np.float32)}
    for name, value in recogniser.state_dict().items():
        layer, _, last = name.rpartition(".")
        array = value.numpy().T if layer in linear and last == "weight" else value.numpy()
        published = f"module.{layer}.{renamed.get(last, last)}".replace("_with_upperword", "")
        state[published] = np.ascontiguousarray(array)
        if last == "_mean":
            state[f"module.{layer}.num_batches_tracked"] = np.array(9)
    for attention in ("mask_multihead", "multihead"):
        state[f"module.decoder.{attention}.compress_attention_linear.weight"] = np.zeros((1, 4), np.float32)
    return state


def as_paddleocr(recogniser: Recogniser) -> dict[str, np.ndarray]:
    """The state inside a whole PaddleOCR checkpoint."""
    state = {f"{KIT_PREFIX}{name}": value.numpy() for name, value in recogniser.state_dict().items()}
    return {**state, "transform.block1.0.bias": np.zeros(64, np.float32)}


@pytest.mark.parametrize("publish", [as_fudanocr, as_paddleocr])
def test_published_weights_are_mapped_by_rule(tiny: Recogniser, publish: object) -> None:
    assert callable(publish)
    ours = Recogniser(TINY)
    assert not ours.pretrained
    load_recogniser_state(ours, publish(tiny), origin="published")
    ours.eval()
    labels = encode_labels(["exit", "a"])
    np.testing.assert_array_equal(
        ours(pictures(2), labels).logits.numpy(), tiny(pictures(2), labels).logits.numpy()
    )
    assert ours.pretrained


def test_keys_that_do_not_fit_are_listed_by_name(tiny: Recogniser) -> None:
    state = as_fudanocr(tiny)
    state["module.encoder.cnn.conv9.weight"] = np.zeros(3, np.float32)
    del state["module.decoder.pff.w_1.bias"]
    state["module.generator_word.proj.bias"] = np.zeros(63, np.float32)
    ours = Recogniser(TINY)
    with pytest.raises(KeyMismatch) as refused:
        load_recogniser_state(ours, state, origin="some.pth")
    message = str(refused.value)
    assert "some.pth" in message
    assert "1 unknown: encoder.cnn.conv9.weight" in message
    assert "1 missing: decoder.pff.w_1.bias" in message
    assert "generator_word_with_upperword.proj.bias (63,), should be (37,)" in message
    assert not ours.pretrained


def test_a_saved_recogniser_comes_back_with_its_sizes(tiny: Recogniser, tmp_path: Path) -> None:
    path = tmp_path / "recogniser.safetensors"
    save_recogniser(path, tiny, source={"run": "test"})
    loaded = load_recogniser(path)
    assert loaded.config == TINY
    assert loaded.pretrained
    assert not loaded.training
    assert loaded.read(pictures(2), longest=4) == tiny.read(pictures(2), longest=4)
    again = tmp_path / "again.safetensors"
    save_recogniser(again, loaded, source={"run": "test"})
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"format": "text-telescope-checkpoint", "version": 1}, "is text-telescope-checkpoint version 1"),
        ({"format": "text-telescope-recogniser", "version": 1}, "does not describe a recogniser"),
        (
            {"format": "text-telescope-recogniser", "version": 1, "architecture": {"width": 30}},
            "width 30 must be a multiple",
        ),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, about: dict[str, object], message: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(1)}, path, metadata={"text_telescope": json.dumps(about)})
    with pytest.raises(UnreadableCheckpoint, match=message):
        load_recogniser(path)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="dropout in"):
        RecogniserConfig(dropout=1.0)


def test_position_encoding_starts_with_zeros_and_ones() -> None:
    table = position_encoding(50, 16)
    assert table.shape == (1, 50, 16)
    np.testing.assert_allclose(table[0, 0], [0, 1] * 8)
    np.testing.assert_allclose(table[0, 3, :2], [np.sin(3), np.cos(3)], atol=1e-6)
