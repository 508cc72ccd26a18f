"""Transparent pictures: text of every colour stays legible, or the picture is refused."""

from collections.abc import Callable, Iterator

import numpy as np

from tests.corpus.drawing import OTHER_TEXT, RGB, TEXT, File, Mask, Rgb, over, read, refused, saved
from tests.corpus.tiff_writer import plain_tiff
from tests.corpus.writers import png

CONTRAST = 60  # levels between a text and its ground
_CLEAR = np.zeros_like(TEXT, np.uint8)
_INK = np.where(TEXT, 255, 0).astype(np.uint8)
_SOFT = _INK.copy()  # with soft edges
_SOFT[5, 6:22] = _SOFT[27, 6:10] = _SOFT[10, 10:22] = 128
_BOTH = TEXT | OTHER_TEXT
_BOXES = np.zeros_like(TEXT)
_BOXES[3:30, 3:45] = True
_LABEL = np.zeros_like(TEXT)
_LABEL[3:30, 3:25] = True
_WORD = np.zeros_like(TEXT)
_WORD[24:27, 38:45] = True


def files() -> Iterator[File]:
    yield from _texts()
    yield from _unclear()
    yield from _labels()
    for writer, name in ((_png, "png"), (_webp, "webp"), (_tiff, "tiff")):
        yield read(f"{name} alpha 0 everywhere", writer(RGB, _CLEAR), RGB)
        yield read(f"{name} alpha 255 everywhere", writer(RGB, _CLEAR + 255), RGB)
    grey_alpha = np.dstack([RGB[:, :, 1], _CLEAR])
    yield read("png grey alpha 0 everywhere", png(grey_alpha, 8, 4), RGB[:, :, 1])


def _png(rgb: Rgb, alpha: np.ndarray) -> bytes:
    return png(np.dstack([rgb, alpha]), 8, 6)


def _webp(rgb: Rgb, alpha: np.ndarray) -> bytes:
    return saved(np.dstack([rgb, alpha]), "WEBP", lossless=True, exact=True)


def _tiff(rgb: Rgb, alpha: np.ndarray) -> bytes:
    return plain_tiff(np.dstack([rgb, alpha]), 8, 2, t338=2)


def _plain(colour: tuple[int, int, int]) -> Rgb:
    return np.full_like(RGB, colour)


def _texts() -> Iterator[File]:
    """Text of one colour on nothing, with hard and soft edges; the colours of clear pixels vary."""
    for writer, name in ((_png, "png"), (_webp, "webp"), (_tiff, "tiff")):
        for colour, rgb, ground in (
            ("black", (0, 0, 0), 255),
            ("dark red", (120, 0, 20), 255),
            ("white", (255, 255, 255), 0),
            ("yellow", (255, 255, 0), 0),
        ):
            data = writer(_plain(rgb), _SOFT)
            yield read(f"{name} {colour} text on transparent", data, over(ground, _plain(rgb), _SOFT), 1)
    hidden = np.where(TEXT[:, :, None], _plain((0, 0, 0)), 255)  # white below the clear pixels
    yield read("png black text on clear white", _png(hidden, _INK), np.where(TEXT, 0, 255))
    hidden = np.where(TEXT[:, :, None], _plain((255, 255, 255)), 0)
    yield read("png white text on clear black", _png(hidden, _INK), np.where(TEXT, 255, 0))
    half = np.where(TEXT, 128, 0).astype(np.uint8)
    yield read("png half-transparent white text", _png(_plain((255, 255, 255)), half), np.where(TEXT, 128, 0), 1)
    yield read("png half-transparent black text", _png(_plain((0, 0, 0)), half), np.where(TEXT, 127, 255), 1)
    grey = np.dstack([_CLEAR, _INK])
    yield read("png grey alpha black text", png(grey, 8, 4), np.where(TEXT, 0, 255))
    yield read("png grey alpha white text", png(np.dstack([_CLEAR + 255, _INK]), 8, 4), np.where(TEXT, 255, 0))
    deep = np.dstack([_CLEAR, _INK]).astype(np.uint16) * 257
    yield read("png grey alpha 16 black text", png(deep, 16, 4), np.where(TEXT, 0, 255))


def legible(texts: dict[str, Mask], ground: Mask) -> Callable[[Rgb], None]:
    """A check that every text differs from the ground by CONTRAST levels of grey."""

    def check(rgb: Rgb) -> None:
        grey = rgb @ np.array([0.299, 0.587, 0.114])
        for name, mask in texts.items():
            contrast = abs(grey[mask].mean() - grey[ground].mean())
            assert contrast >= CONTRAST, f"the {name} text has a contrast of {contrast:.0f} levels"

    return check


def _unclear() -> Iterator[File]:
    """Light and dark text in one picture."""
    alpha = np.where(_BOTH, 255, 0).astype(np.uint8)
    check = legible({"white": TEXT, "black": OTHER_TEXT}, ~_BOTH)
    rgb = np.where(TEXT[:, :, None], 255, _plain((0, 0, 0)))
    for writer, name in ((_png, "png"), (_webp, "webp")):
        yield File(f"{name} white and black text on transparent", writer(rgb, alpha), check=check)
    rgb = np.where(TEXT[:, :, None], (255, 255, 0), (60, 0, 0)).astype(np.uint8)
    check = legible({"yellow": TEXT, "dark red": OTHER_TEXT}, ~_BOTH)
    yield File("png yellow and dark red text on transparent", _png(rgb, alpha), check=check)
    rgb = np.where(TEXT[:, :, None], (255, 255, 0), (0, 0, 200)).astype(np.uint8)
    check = legible({"yellow": TEXT, "blue": OTHER_TEXT}, ~_BOTH)
    yield File("png yellow and blue text on transparent", _png(rgb, alpha), check=check)
    alpha = np.where(TEXT | _WORD, 255, 0).astype(np.uint8)
    rgb = np.where(_WORD[:, :, None], 255, _plain((0, 0, 0)))
    check = legible({"black": TEXT, "short white": _WORD}, ~(TEXT | _WORD))
    for writer, name in ((_png, "png"), (_webp, "webp"), (_tiff, "tiff")):
        yield File(f"{name} black text and a short white word on transparent", writer(rgb, alpha), check=check)
    faint = np.where(TEXT[:, :, None], (255, 0, 0), (0, 255, 255)).astype(np.uint8)
    for level in (1, 2):
        yield refused(f"png alpha {level} everywhere", _png(faint, _CLEAR + level), "unsupported_format")
    yield refused("webp alpha 1 everywhere", _webp(faint, _CLEAR + 1), "unsupported_format")


def _labels() -> Iterator[File]:
    """An opaque label with dark text; its margins are clear."""
    label = np.where(TEXT[:, :, None], 10, (240, 230, 200)).astype(np.uint8)
    alpha = np.where(_BOXES, 255, 0).astype(np.uint8)
    for writer, name in ((_png, "png"), (_webp, "webp")):
        yield read(f"{name} opaque label with clear margins", writer(label, alpha), over(255, label, alpha))
    rgb = np.where(TEXT[:, :, None], 240, (30, 40, 60)).astype(np.uint8)
    check = legible({"light": TEXT}, _BOXES & ~TEXT)
    yield File("png dark label with light text and clear margins", _png(rgb, alpha), check=check)
    yield from _beside_a_label()
    corners = np.full_like(_CLEAR, 255)
    corners[:2, :2] = corners[-2:, -2:] = 0
    yield read("png rounded corners", _png(label, corners), over(255, label, corners))


def _beside_a_label() -> Iterator[File]:
    """White text on a coloured label, and more of it on nothing."""
    rgb = np.where(_LABEL[:, :, None], (20, 60, 160), 255)
    rgb[_BOTH] = 255
    alpha = np.where(_LABEL | OTHER_TEXT, 255, 0).astype(np.uint8)
    on_label = legible({"label's": TEXT}, _LABEL & ~TEXT)
    beside = legible({"other": OTHER_TEXT}, ~_LABEL & ~OTHER_TEXT)

    def check(shown: Rgb) -> None:
        on_label(shown)
        beside(shown)

    for writer, name in ((_png, "png"), (_webp, "webp"), (_tiff, "tiff")):
        data = writer(rgb.astype(np.uint8), alpha)
        yield File(f"{name} white text on a label and beside it", data, check=check)
