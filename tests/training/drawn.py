"""Words drawn with the font that Pillow carries, for tests that must not depend on installed fonts."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WORDS = ("market", "zipper", "Harbour", "window", "Kitchen", "bridge", "orange", "Museum", "station", "coffee",
         "garden", "theatre", "library", "parking", "bakery", "ticket")  # fmt: skip
INK, PAPER = (30, 40, 90), (235, 225, 210)


def word(text: str, *, size: int = 36, margin: int = 4) -> np.ndarray:
    """uint8 (H, W, 3): dark blue on beige, as close around the text as a detector cuts."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = map(round, font.getbbox(text))
    picture = Image.new("RGB", (right - left + 2 * margin, bottom - top + 2 * margin), PAPER)
    ImageDraw.Draw(picture).text((margin - left, margin - top), text, fill=INK, font=font)
    return np.asarray(picture)


def png(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, crops: Iterable[tuple[str, np.ndarray | bytes | None]]) -> Path:
    """A tar of labelled crops; bytes are stored as they are, and of None there is only the label."""
    table = []
    with tarfile.open(path, "w") as archive:
        for number, (label, content) in enumerate(crops):
            name = f"{number}.png"
            table.append(f"{name}\t{label}\n")
            if content is not None:
                _add(archive, name, png(content) if isinstance(content, np.ndarray) else content)
        _add(archive, "labels.tsv", "".join(table).encode())
    return path


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
