"""Words, fonts and a recogniser for tests of calibration and of `bench ocr`."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.calibration.rendered import fonts
from training.errors import DataError, MissingExtra
from training.ocr import open_reader

HARBOURS = ["Harbour", "EXIT", "2048", "coffee", "Museum", "park"]


def drawn_words(folder: Path) -> Path:
    """A folder with labels.tsv: the words of HARBOURS, and one picture that is too low."""
    folder.mkdir()
    for word in HARBOURS:
        picture = np.full((64, 20 + 34 * len(word), 3), (200, 245, 250), np.uint8)
        cv2.putText(picture, word, (10, 46), cv2.FONT_HERSHEY_DUPLEX, 1.5, (90, 30, 20), 3, cv2.LINE_AA)
        cv2.imwrite(str(folder / f"{word}.png"), picture)
    (folder / "low.png").write_bytes(cv2.imencode(".png", np.full((20, 60, 3), 9, np.uint8))[1].tobytes())
    names = [*HARBOURS, "low"]
    (folder / "labels.tsv").write_text("".join(f"{name}.png\t{name}\n" for name in names))
    return folder


def installed_reader() -> str:
    """The name of a recogniser; skips the test if its package is missing."""
    try:
        open_reader("rapidocr-v6")
    except MissingExtra as missing:
        pytest.skip(str(missing))
    return "rapidocr-v6"


def installed_fonts() -> dict[str, tuple[str, ...]]:
    """Font paths by script; skips the test without a Latin font."""
    try:
        return fonts()
    except DataError as missing:
        pytest.skip(str(missing))
