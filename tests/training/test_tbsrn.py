"""TBSRN against recorded outputs, and the properties its formulas promise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")
from paddle import Tensor  # noqa: E402 - after the skip
from paddle.nn import Layer  # noqa: E402

from model_store.folding import position_encoding_2d  # noqa: E402
from training.architecture import control_points  # noqa: E402
from training.errors import ConfigError  # noqa: E402
from training.layers import LayerNorm, MultiHeadAttention  # noqa: E402
from training.stn import ThinPlateSpline  # noqa: E402
from training.tbsrn import TBSRN  # noqa: E402


def tiny(**changes: Any) -> TBSRN:
    return TBSRN(**{"blocks": 1, "hidden": 2, "width": 32, **changes})


@pytest.mark.parametrize(("height", "width", "scale"), [(16, 64, 2), (32, 32, 2), (16, 32, 4), (48, 32, 1)])
def test_output_is_scale_times_the_input(height: int, width: int, scale: int) -> None:
    network = tiny(height=height, width=width, scale=scale)
    sr = network(paddle.rand([2, 3, height, width]))
    assert sr.shape == [2, 3, scale * height, scale * width]


def test_without_stn_any_size_can_be_trained() -> None:
    assert tiny(height=10, width=23, stn=False)(paddle.rand([1, 3, 10, 23])).shape == [1, 3, 20, 46]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"height": 20}, "height must be divisible by 16"),
        ({"width": 48}, "width must be divisible by 32"),
        ({"scale": 3}, "scale must be a power of two"),
        ({"hidden": 3}, "hidden must be even"),
        ({"blocks": 0}, "blocks must be positive"),
        ({"dropout_mode": "none"}, "dropout_mode must be one of"),
    ],
)
def test_an_impossible_architecture_is_refused_by_the_argument_s_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        tiny(**changes)


@pytest.mark.parametrize("attention", [True, False])
def test_sizes_other_than_the_trained_are_taken_in_evaluation_and_without_stn_in_training(attention: bool) -> None:
    network = tiny(attention=attention)
    with pytest.raises(ConfigError, match=r"model\.stn is made for images of 16 x 32, not 24 x 70"):
        network(paddle.rand([1, 3, 24, 70]))
    network.eval()
    assert network(paddle.rand([1, 3, 24, 70])).shape == [1, 3, 48, 140]
    learning = tiny(attention=attention, stn=False)
    assert learning(paddle.rand([1, 3, 24, 70])).shape == [1, 3, 48, 140]
    with pytest.raises(ConfigError, match="8 x 8 pixels or more, not 7 x 32"):
        learning(paddle.rand([1, 3, 7, 32]))


def test_position_encoding_is_never_stored() -> None:
    assert not [name for name in tiny().state_dict() if "position" in name or name.startswith("tps")]


def test_each_half_of_the_position_encoding_follows_one_axis() -> None:
    encoding = position_encoding_2d(8, 5, 7)
    np.testing.assert_array_equal(encoding[:4], np.broadcast_to(encoding[:4, :1], (4, 5, 7)))
    np.testing.assert_array_equal(encoding[4:], np.broadcast_to(encoding[4:, :, :1], (4, 5, 7)))
    np.testing.assert_allclose(encoding[0, 0], np.sin(np.arange(7)), atol=1e-7)
    np.testing.assert_allclose(encoding[5, :, 0], np.cos(np.arange(5)), atol=1e-7)


def test_training_reaches_every_parameter() -> None:
    network = tiny()
    network.train()
    network.stn_head.stn_fc2.weight.set_value(paddle.randn([512, 40]) * 0.01)  # it starts at zero
    network(paddle.rand([2, 3, 16, 32])).square().mean().backward()
    untouched = [n for n, p in network.named_parameters() if not p.stop_gradient and p.grad is None]
    assert untouched == []


def test_the_stn_acts_in_training_only() -> None:
    network = tiny()
    seen = []

    def noted(layer: Layer, given: Tensor, points: Tensor) -> Tensor:
        seen.append(points)
        return points

    network.stn_head.register_forward_post_hook(noted)
    network.eval()
    network(paddle.rand([1, 3, 16, 32]))
    assert not seen
    network.train()
    network(paddle.rand([2, 3, 16, 32]))
    assert seen


def test_points_on_their_targets_leave_the_picture_alone() -> None:
    picture = paddle.rand([2, 3, 16, 32])
    points = paddle.to_tensor(control_points(0.05)[None].repeat(2, 0).astype(np.float32))
    np.testing.assert_allclose(ThinPlateSpline(16, 32)(picture, points), picture, atol=2e-4)


def test_the_spline_is_the_one_fudanocr_stores(shared_dir: Path) -> None:
    tensors = pytest.importorskip("safetensors.numpy").load_file(
        shared_dir / "checkpoints/tbsrn_start.safetensors"
    )
    solved = tensors["tps.target_coordinate_repr"].astype(float) @ tensors["tps.inverse_kernel"].astype(float)
    # theirs is inverted in float32, which costs it the fifth digit
    np.testing.assert_allclose(ThinPlateSpline(16, 64).weights.numpy(), solved[:, :20], atol=1e-4)


def test_layer_norm_divides_by_the_unbiased_deviation() -> None:
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    expected = (x - x.mean(1, keepdims=True)) / (x.std(1, ddof=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(LayerNorm(8)(paddle.to_tensor(x)).numpy(), expected, atol=1e-6)


def test_a_mask_keeps_attention_from_looking_ahead() -> None:
    attention = MultiHeadAttention(2, 8)
    attention.eval()
    x = paddle.randn([3, 5, 8])
    out, maps = attention(x, x, x, paddle.tril(paddle.ones([5, 5], dtype="bool")))
    assert out.shape == [3, 5, 8]
    assert maps.shape == [3, 2, 5, 5]
    np.testing.assert_allclose(maps.numpy().sum(-1), 1, atol=1e-6)
    assert np.triu(maps.numpy(), k=1).max() < 1e-20  # rounds to, but need not be, zero


def test_paddleocr_s_dropout_scales_attention_maps_in_evaluation() -> None:
    attention = MultiHeadAttention(2, 8, 0.1, dropout_mode="downscale_in_infer")
    attention.eval()
    x = paddle.randn([1, 5, 8])
    np.testing.assert_allclose(attention(x, x, x)[1].numpy().sum(-1), 0.9, atol=1e-6)
