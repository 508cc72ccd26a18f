"""Any size, any proportion: twice the size, no seam."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from app.inference.runtimes import open_runtime
from app.inference.runtimes.base import Runtime
from model_store import BUNDLED, tiling
from model_store.manifest import PixelSpec
from model_store.pixels import Chw, Nchw, Rgb, Size, resize
from model_store.store import ModelStore
from model_store.tiling import Layout
from tests.app.fakes import nearest_x2

SPEC = PixelSpec(height=16, width=64, scale=2)
SIZES = ((16, 64), (24, 96), (32, 128), (48, 192))
Network = Callable[[Nchw], Iterable[Chw]]


def bicubic_x2(tiles: Nchw) -> list[Chw]:
    """A stand-in for the network that looks no further than two pixels."""
    height, width = 2 * tiles.shape[2], 2 * tiles.shape[3]
    tall = [[resize(band, height=height, width=width) for band in _levels(tile)] for tile in tiles]
    return [np.divide([band[..., 0] for band in bands], 255, dtype=np.float32) for bands in tall]


def _levels(tile: Chw) -> list[Rgb]:
    levels = np.rint(tile * 255).astype(np.uint8)
    return [np.repeat(band[..., None], 3, axis=2) for band in levels]


def planned(height: int, width: int, *, scale: float = 1.0, sizes: Sequence[Size] = SIZES) -> Layout:
    return tiling.plan(height, width, scale=scale, spec=SPEC, sizes=sizes)


def through(rgb: Rgb, *, scale: float = 1.0, network: Network = bicubic_x2, sizes: Sequence[Size] = SIZES) -> Rgb:
    layout = planned(*rgb.shape[:2], scale=scale, sizes=sizes)
    return tiling.merge(list(network(tiling.split(rgb, layout, SPEC))), layout, SPEC)


@given(
    height=st.integers(4, 120),
    width=st.integers(4, 900),
    scale=st.floats(0.05, 1),
    sizes=st.sampled_from([SIZES, SIZES[:1]]),
)
@settings(max_examples=80, deadline=None)
def test_a_crop_of_any_size_comes_back_twice_as_large_and_a_plain_one_plain(
    height: int, width: int, scale: float, sizes: Sequence[Size]
) -> None:
    rgb = np.full((height, width, 3), (200, 120, 40), np.uint8)
    output = through(rgb, scale=scale, sizes=sizes)
    assert output.shape == (2 * height, 2 * width, 3)
    assert np.abs(output.astype(int) - (200, 120, 40)).max() <= 1


@pytest.mark.parametrize("size", [(8, 8), (300, 2000), (2000, 300), (8, 2000), (300, 8)])
def test_extreme_shapes_come_back_twice_as_large(size: Size) -> None:
    rgb = np.full((*size, 3), 90, np.uint8)
    assert through(rgb, network=nearest_x2).shape == (2 * size[0], 2 * size[1], 3)


@given(height=st.integers(1, 2000), width=st.integers(1, 2000), scale=st.floats(0.02, 1))
def test_tiles_cover_the_crop_and_neighbours_overlap(height: int, width: int, scale: float) -> None:
    layout = planned(height, width, scale=scale)
    assert layout.tile in SIZES
    for starts, length, side in zip((layout.tops, layout.lefts), layout.size, layout.tile, strict=True):
        assert starts[0] == 0
        assert starts[-1] + side >= length
        assert all(0 < b - a <= side - min(16, side // 4) for a, b in pairwise(starts))


@given(height=st.integers(1, 400), width=st.integers(1, 1200), low=st.floats(0.02, 1), high=st.floats(0.02, 1))
def test_a_smaller_scale_never_takes_more_work(height: int, width: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    work = [planned(height, width, scale=scale) for scale in (low, high)]
    assert work[0].pixels <= work[1].pixels


@given(height=st.integers(12, 300), width=st.integers(12, 1200), scale=st.floats(0.02, 1))
def test_the_working_scale_is_kept_to_an_eighth_and_never_below_12_rows(
    height: int, width: int, scale: float
) -> None:
    layout = planned(height, width, scale=scale)
    shown = width if layout.turned else height
    wanted = max(scale, 12 / shown)
    assert wanted * 0.88 - 1 / shown <= layout.size[0] / shown <= wanted + 1 / shown


def test_a_crop_costs_about_its_area() -> None:
    assert planned(48, 200).pixels <= 1.01 * 48 * 200
    assert planned(48, 200, scale=0.625).pixels <= 1.1 * 30 * 125
    assert planned(32, 128).pixels == 32 * 128


def test_a_crop_of_the_models_size_is_one_tile_and_exactly_the_networks_output() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (16, 64, 3), np.uint8)
    assert (through(rgb, network=nearest_x2) == rgb.repeat(2, axis=0).repeat(2, axis=1)).all()


def ramp(height: int, width: int, *, down: bool) -> Rgb:
    levels = np.linspace(0, 255, height if down else width).astype(np.uint8)
    plane = np.broadcast_to(levels[:, None] if down else levels, (height, width))
    return np.ascontiguousarray(np.repeat(plane[..., None], 3, axis=2))


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("size", [(16, 65), (16, 500), (48, 600), (100, 300), (150, 500)])
@pytest.mark.parametrize("sizes", [SIZES, SIZES[:1]])
def test_no_seam_shows_where_tiles_meet(size: Size, down: bool, sizes: Sequence[Size]) -> None:
    output = through(ramp(*size, down=down), sizes=sizes).astype(int)[..., 0]
    middle = output[:, output.shape[1] // 2] if down else output[output.shape[0] // 2]
    steps = np.diff(middle)
    assert np.abs(steps - steps.mean()).max() <= steps.mean() + 4, "a step that the gradient does not have"


def test_tiles_that_disagree_are_blended_and_not_cut() -> None:
    layout = planned(16, 100, sizes=SIZES[:1])
    assert layout.tiles == 2
    dark, bright = np.zeros((3, 32, 128), np.float32), np.ones((3, 32, 128), np.float32)
    row = tiling.merge([dark, bright], layout, SPEC)[16, :, 0].astype(int)
    assert (row[:60] == 0).all()
    assert (row[-60:] == 255).all()
    assert 0 < np.diff(row).max() <= 12


def test_an_upright_line_is_turned_onto_its_side_and_back() -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (200, 20, 3), np.uint8)
    layout = planned(200, 20)
    assert layout.turned
    assert layout.size[1] > layout.size[0]
    on_its_side = through(np.ascontiguousarray(np.rot90(rgb)))
    assert (through(rgb) == np.rot90(on_its_side, -1)).all()


def test_a_narrow_letter_is_not_turned() -> None:
    assert not planned(60, 12).turned


def test_no_crop_is_too_high() -> None:
    for height in (33, 64, 120, 400):
        assert planned(height, 3 * height).tiles > 0


def test_the_telescope_geometry_is_the_references() -> None:
    rgb = np.random.default_rng(3).integers(0, 255, (40, 50, 3), np.uint8)
    layout = tiling.stretched(SPEC)
    output = tiling.merge(list(nearest_x2(tiling.split(rgb, layout, SPEC))), layout, SPEC)
    assert (output == resize(rgb, height=16, width=64).repeat(2, axis=0).repeat(2, axis=1)).all()


def opened(model: str) -> Runtime:
    pytest.importorskip("openvino")
    return open_runtime("openvino", ModelStore(BUNDLED).resolve(model), device="cpu", threads=1, precision="fp32")


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    """The bundled model."""
    return opened("tbsrn")


def line_of_text(height: int) -> Rgb:
    """Ten words, a little blurred."""
    font = ImageFont.load_default(36)
    text = "ten words in one long line stay ten words long"
    page = Image.new("RGB", (round(font.getlength(text)) + 24, 52), (226, 220, 206))
    ImageDraw.Draw(page).text((12, 2), text, fill=(40, 40, 60), font=font)
    soft = page.filter(ImageFilter.GaussianBlur(1.2))
    return np.asarray(soft.resize((round(page.width * height / page.height), height), Image.Resampling.BICUBIC))


def by_the_model(rgb: Rgb, runtime: Runtime, *, scale: float = 1.0) -> Rgb:
    def network(tiles: Nchw) -> list[Chw]:
        return [runtime.run(tile[None])[0] for tile in tiles]

    return through(rgb, scale=scale, network=network)


@pytest.mark.parametrize("height", [16, 24, 40, 64])
def test_a_line_comes_back_alike_wherever_its_tiles_begin(runtime: Runtime, height: int) -> None:
    line = line_of_text(height)
    whole = by_the_model(line, runtime).astype(int)
    cut = by_the_model(np.ascontiguousarray(line[:, 23:]), runtime).astype(int)
    columns = np.abs(whole[:, 46:] - cut).mean(axis=(0, 2))[36:-36]  # the cut's own end is another picture
    assert columns.mean() < 6  # the two may be shown at scales that differ by a few hundredths
    assert columns.max() < 24, f"a seam at column {columns.argmax()}"


@pytest.mark.parametrize("height", [64, 100])
def test_a_high_crop_comes_back_alike_wherever_its_rows_of_tiles_begin(runtime: Runtime, height: int) -> None:
    line = line_of_text(height)[:, :300]
    whole = by_the_model(line, runtime).astype(int)
    cut = by_the_model(np.ascontiguousarray(line[9:]), runtime).astype(int)
    rows = np.abs(whole[18:] - cut).mean(axis=(1, 2))[36:-36]
    assert rows.mean() < 6
    assert rows.max() < 24, f"a seam at row {rows.argmax()}"


@pytest.fixture(scope="module")
def reader() -> Any:
    return pytest.importorskip("rapidocr").RapidOCR()


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("height", [24, 60])
def test_ten_words_stay_the_same_ten_words(runtime: Runtime, reader: Any, height: int, scale: float) -> None:
    line = line_of_text(height)
    output = by_the_model(line, runtime, scale=max(scale, 16 / height))
    assert output.shape == (2 * line.shape[0], 2 * line.shape[1], 3)

    def read(rgb: Rgb) -> str:
        found = reader(np.ascontiguousarray(rgb[..., ::-1]), use_det=False, use_cls=False, use_rec=True)
        return "".join(found.txts).replace(" ", "").lower()

    assert read(output) == read(line) == "tenwordsinonelonglinestaytenwordslong"


def test_a_form_for_any_size_is_bit_for_bit_the_same_at_the_trained_one() -> None:
    """tbsrn:2 and tbsrn:3 have the same weights; tbsrn:2 is for the trained size alone."""
    lr = tiling.split(line_of_text(40), tiling.stretched(SPEC), SPEC)
    assert (opened("tbsrn:2").run(lr) == opened("tbsrn:3").run(lr)).all()
