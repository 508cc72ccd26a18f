"""One set of weights at the trained size and at others."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from model_store.folding import middle, position_encoding_2d  # noqa: E402
from training.engines.torch_net import TBSRN, from_tiles, into_tiles  # noqa: E402
from training.errors import ConfigError  # noqa: E402

OTHERS = [(32, 96), (24, 96), (8, 8), (13, 71)]


def tiny(**changes: Any) -> TBSRN:
    torch.manual_seed(0)
    return TBSRN(**{"blocks": 1, "hidden": 4, "width": 32, "stn": False, "dropout": 0.0, **changes})


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize(("height", "width"), OTHERS)
def test_pytorch_learns_at_other_sizes(height: int, width: int, attention: bool) -> None:
    network = tiny(attention=attention)
    torch.nn.Module.to(network, memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        sr = network(torch.rand(2, 3, height, width).to(memory_format=torch.channels_last))
    assert sr.shape == (2, 3, 2 * height, 2 * width)
    sr.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_tiles_lie_row_by_row_and_the_last_are_filled_with_the_edge() -> None:
    x = torch.rand(2, 5, 24, 50)
    tiles = into_tiles(x, 16, 32)
    assert tiles.shape == (8, 5, 16, 32)
    torch.testing.assert_close(tiles[1, :, :, :18], x[0, :, :16, 32:], rtol=0, atol=0)
    torch.testing.assert_close(tiles[1, :, :, 18:], x[0, :, :16, -1:].expand(5, 16, 14), rtol=0, atol=0)
    torch.testing.assert_close(tiles[6, :, :8], x[1, :, 16:, :32], rtol=0, atol=0)
    torch.testing.assert_close(from_tiles(tiles, 24, 50), x, rtol=0, atol=0)


def test_attention_stays_within_its_tile() -> None:
    enhancer = tiny().eval().get_submodule("block2.feature_enhancer")
    x = torch.rand(1, 8, 32, 64)
    with torch.no_grad():
        whole, alone = enhancer(x), enhancer(x[:, :, 16:, 32:].contiguous())
    torch.testing.assert_close(whole[:, :, 16:, 32:], alone, rtol=0, atol=1e-6)


def test_without_attention_every_position_has_the_encoding_of_the_trained_middle() -> None:
    trained, other = tiny(attention=False).eval(), tiny(attention=False, height=24, width=48).eval()
    other.load_state_dict(trained.state_dict())
    encoding = torch.from_numpy(middle(position_encoding_2d(8, 16, 32)))
    other.get_buffer("block2.feature_enhancer.position").copy_(encoding.expand(24 * 48, 8))
    x = torch.rand(1, 3, 24, 48)
    with torch.no_grad():
        torch.testing.assert_close(trained(x), other(x), rtol=0, atol=1e-6)


def test_the_stn_straightens_pictures_of_the_trained_size_alone() -> None:
    network = tiny(stn=True)
    network(torch.rand(2, 3, 16, 32))
    with pytest.raises(ConfigError, match=r"model\.stn is made for images of 16 x 32, not 32 x 64"):
        network(torch.rand(2, 3, 32, 64))
    assert network.eval()(torch.rand(2, 3, 32, 64)).shape == (2, 3, 64, 128)


@pytest.mark.parametrize("shape", [(1, 3, 7, 32), (1, 1, 16, 32), (3, 16, 32)])
def test_what_is_too_small_or_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="TBSRN takes images"):
        tiny()(torch.rand(shape))
