"""Any size, any proportion: twice the size, no seam."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from app import geometry
from app.geometry import Chw
from app.predictor import Predictor
from app.runtimes import open_runtime
from model_store import BUNDLED
from model_store.manifest import PixelSpec
from model_store.pixels import Nchw, Rgb, resize
from model_store.store import ModelStore
from tests.app.fakes import nearest_x2

SPEC = PixelSpec(height=16, width=64, scale=2)


def bicubic_x2(windows: Nchw) -> list[Chw]:
    """A stand-in for the network that looks no further than two pixels."""
    tall = [[resize(band, height=32, width=128) for band in _levels(window)] for window in windows]
    return [np.stack([band[..., 0] for band in bands]).astype(np.float32) / 255 for bands in tall]


def _levels(window: Chw) -> list[Rgb]:
    levels = np.rint(window * 255).astype(np.uint8)
    return [np.repeat(band[..., None], 3, axis=2) for band in levels]


def through(rgb: Rgb, *, answer: object = bicubic_x2) -> Rgb:
    layout = geometry.plan(*rgb.shape[:2], geometry="native", spec=SPEC)
    if not layout.starts:
        return geometry.enlarge(rgb, layout)
    return geometry.merge(list(answer(geometry.split(rgb, layout, SPEC))), layout, SPEC)  # type: ignore[operator]


@given(height=st.integers(4, 120), width=st.integers(4, 900))
@settings(max_examples=60)
def test_a_crop_of_any_size_comes_back_twice_as_large_and_a_plain_one_plain(height: int, width: int) -> None:
    rgb = np.full((height, width, 3), (200, 120, 40), np.uint8)
    answered = through(rgb)
    assert answered.shape == (2 * height, 2 * width, 3)
    assert np.abs(answered.astype(int) - (200, 120, 40)).max() <= 1


@given(length=st.integers(73, 3000))
def test_windows_cover_the_whole_strip_and_share_a_quarter(length: int) -> None:
    layout = geometry.plan(16, length, geometry="native", spec=SPEC)
    assert layout.length == length
    assert layout.starts[0] == 0
    assert layout.starts[-1] == length - 64
    assert all(0 < b - a <= 48 for a, b in zip(layout.starts, layout.starts[1:], strict=False))


def test_a_crop_of_the_models_size_is_one_window_and_exactly_the_networks_answer() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (16, 64, 3), np.uint8)
    assert (through(rgb, answer=nearest_x2) == rgb.repeat(2, axis=0).repeat(2, axis=1)).all()


def test_a_line_little_longer_than_a_window_is_squeezed_into_one() -> None:
    assert geometry.plan(16, 72, geometry="native", spec=SPEC).starts == (0,)
    assert len(geometry.plan(16, 73, geometry="native", spec=SPEC).starts) == 2


@pytest.mark.parametrize("width", [65, 73, 100, 112, 113, 500, 2000])
def test_no_seam_shows_where_windows_meet(width: int) -> None:
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    rgb = np.repeat(np.repeat(ramp[None, :, None], 16, axis=0), 3, axis=2)
    steps = np.diff(through(rgb)[16, :, 0].astype(int))
    assert np.abs(steps - steps.mean()).max() <= 2, "a step that the gradient does not have"


def test_windows_that_disagree_are_blended_and_not_cut() -> None:
    layout = geometry.plan(16, 112, geometry="native", spec=SPEC)
    assert len(layout.starts) == 2
    dark, bright = np.zeros((3, 32, 128), np.float32), np.ones((3, 32, 128), np.float32)
    row = geometry.merge([dark, bright], layout, SPEC)[16, :, 0].astype(int)
    assert (row[:90] == 0).all()
    assert (row[-90:] == 255).all()
    assert 0 < np.diff(row).max() <= 12


def test_an_upright_narrow_crop_is_turned_onto_its_side_and_back() -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (200, 20, 3), np.uint8)
    layout = geometry.plan(200, 20, geometry="native", spec=SPEC)
    assert layout.turned
    assert layout.length == 160
    on_its_side = through(np.ascontiguousarray(np.rot90(rgb)))
    assert (through(rgb) == np.rot90(on_its_side, -1)).all()


def test_a_narrow_letter_within_the_range_is_not_turned() -> None:
    assert not geometry.plan(30, 6, geometry="native", spec=SPEC).turned


def test_a_crop_higher_than_the_network_can_answer_is_enlarged_without_it() -> None:
    assert geometry.plan(32, 100, geometry="native", spec=SPEC).starts
    assert not geometry.plan(33, 100, geometry="native", spec=SPEC).starts
    rgb = np.random.default_rng(2).integers(0, 255, (60, 200, 3), np.uint8)
    assert (through(rgb) == resize(rgb, height=120, width=400)).all()


def test_the_telescope_geometry_is_the_references() -> None:
    rgb = np.random.default_rng(3).integers(0, 255, (40, 50, 3), np.uint8)
    layout = geometry.plan(40, 50, geometry="telescope", spec=SPEC)
    answered = geometry.merge(list(nearest_x2(geometry.split(rgb, layout, SPEC))), layout, SPEC)
    assert (answered == resize(rgb, height=16, width=64).repeat(2, axis=0).repeat(2, axis=1)).all()


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    """The bundled model."""
    pytest.importorskip("openvino")
    artefact = ModelStore(BUNDLED).resolve("tbsrn")
    opened = Predictor(
        lambda: open_runtime("openvino", artefact, device="cpu", threads=0, precision="fp32"),
        spec=SPEC,
        batch_sizes=[1, 4],
    )
    yield opened
    opened.close()


def line_of_text(height: int) -> Rgb:
    """Ten words, a little blurred."""
    font = ImageFont.load_default(36)
    text = "ten words in one long line stay ten words long"
    page = Image.new("RGB", (round(font.getlength(text)) + 24, 52), (226, 220, 206))
    ImageDraw.Draw(page).text((12, 2), text, fill=(40, 40, 60), font=font)
    soft = page.filter(ImageFilter.GaussianBlur(1.2))
    return np.asarray(soft.resize((round(page.width * height / page.height), height), Image.Resampling.BICUBIC))


def by_the_model(rgb: Rgb, predictor: Predictor) -> Rgb:
    def answer(windows: Nchw) -> list[Chw]:
        return [predictor.run_blocking(window[None])[0] for window in windows]

    return through(rgb, answer=answer)


def test_a_line_is_answered_alike_wherever_its_windows_begin(predictor: Predictor) -> None:
    line = line_of_text(16)
    whole = by_the_model(line, predictor).astype(int)
    cut = by_the_model(np.ascontiguousarray(line[:, 23:]), predictor).astype(int)
    columns = np.abs(whole[:, 46:] - cut).mean(axis=(0, 2))[16:-16]  # the cut's own end is another picture
    assert columns.mean() < 4
    assert columns.max() < 24, f"a seam at column {columns.argmax()}"


@pytest.mark.parametrize("height", [12, 16, 24, 60])
def test_ten_words_stay_the_same_ten_words(predictor: Predictor, height: int) -> None:
    rapidocr = pytest.importorskip("rapidocr")
    reader = rapidocr.RapidOCR()
    line = line_of_text(height)
    answered = by_the_model(line, predictor)
    assert answered.shape == (2 * line.shape[0], 2 * line.shape[1], 3)

    def read(rgb: Rgb) -> str:
        found = reader(np.ascontiguousarray(rgb[..., ::-1]), use_det=False, use_cls=False, use_rec=True)
        return "".join(found.txts).replace(" ", "").lower()

    assert read(answered) == read(line) == "tenwordsinonelonglinestaytenwordslong"
