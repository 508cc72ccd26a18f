"""PP-OCR reads words from every kind of file in which a wrong decoder hides them."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from model_store.pictures import decode
from tests.corpus.writers import chunk, exif, xmp

pytest.importorskip("rapidocr")

from training.ocr import TextReader, open_reader

WORDS = ("Harbour", "Station", "Bakery", "Museum", "Castle")
CLEAR = (0, 0, 0, 0)


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return open_reader("rapidocr-v6")


def drawn(word: str, *, ink: Any = (20, 30, 80), ground: Any = (245, 240, 230), mode: str = "RGB") -> Image.Image:
    font = ImageFont.load_default(24)
    picture = Image.new(mode, (int(font.getlength(word)) + 24, 40), ground)
    ImageDraw.Draw(picture).text((12, 4), word, font=font, fill=ink)
    return picture


def saved(picture: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    picture.save(stream, image_format, **options)
    return stream.getvalue()


def turned(word: str) -> Image.Image:
    """As a phone stores it, to be shown by orientation 6."""
    return drawn(word).transpose(Image.Transpose.ROTATE_90)


def with_late_exif(word: str) -> bytes:
    data = saved(turned(word))
    return data[:-12] + chunk(b"eXIf", exif(6)) + data[-12:]


def of_16_bits(word: str) -> bytes:
    grey = np.asarray(drawn(word, ink=40, ground=235, mode="L"))
    return saved(Image.fromarray(grey.astype(np.uint16) * 257))


def of_floats(word: str) -> bytes:
    grey = np.asarray(drawn(word, ink=40, ground=235, mode="L"))
    return saved(Image.fromarray(grey.astype(np.float32) / 255), "TIFF")


KINDS: dict[str, Callable[[str], bytes]] = {
    "JPEG turned by EXIF": lambda word: saved(turned(word), "JPEG", quality=92, exif=b"Exif\0\0" + exif(6)),
    "JPEG turned by XMP": lambda word: saved(turned(word), "JPEG", quality=92, xmp=xmp(6)),
    "PNG turned by EXIF behind its pixels": with_late_exif,
    "black on transparent": lambda word: saved(drawn(word, ink=(0, 0, 0, 255), ground=CLEAR, mode="RGBA")),
    "white on transparent": lambda word: saved(
        drawn(word, ink=(255,) * 4, ground=(255, 255, 255, 0), mode="RGBA")
    ),
    "grey of 16 bits": of_16_bits,
    "floats from 0 to 1": of_floats,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_is_read(kind: str, reader: TextReader) -> None:
    pictures = [decode(KINDS[kind](word)) for word in WORDS]
    assert tuple(reader.read(pictures)) == WORDS
