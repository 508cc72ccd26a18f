"""Written files hold the pixels that went in."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from app.errors import ResultTooLarge
from app.imaging.decode import decode
from app.imaging.encode import MAX_SIDE, Format, check_result, encode


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))),
    st.sampled_from(["png", "webp"]),
)
def test_the_lossless_formats_lose_nothing(rgb: np.ndarray, image_format: Format) -> None:
    assert (decode(encode(rgb, image_format)) == rgb).all()


def test_jpeg_keeps_the_colours_of_thin_strokes() -> None:
    rgb = np.full((16, 64, 3), 255, np.uint8)
    rgb[:, ::4] = (255, 0, 0)
    back = decode(encode(rgb, "jpeg"))
    assert np.abs(back.astype(int) - rgb).mean() < 3


def test_a_png_passes_pillows_checks() -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (20, 40, 3), np.uint8)
    with Image.open(BytesIO(encode(rgb, "png"))) as image:
        image.verify()


@pytest.mark.parametrize("image_format", MAX_SIDE)
def test_a_side_beyond_the_format_is_refused(image_format: Format) -> None:
    check_result(image_format, 1, MAX_SIDE[image_format])
    with pytest.raises(ResultTooLarge, match="a side") as refused:
        check_result(image_format, 1, MAX_SIDE[image_format] + 1)
    assert ("Ask for png" in str(refused.value)) == (image_format != "png")
