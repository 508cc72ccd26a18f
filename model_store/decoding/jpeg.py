"""A JPEG without its metadata, and the roles of several pictures in one file. Source: CIPA DC-007 (MPO)."""

import re
from collections.abc import Iterator

from PIL import Image
from PIL.MpoImagePlugin import MpoImageFile

from model_store.errors import UndecodablePicture

MAX_SEGMENTS = 1000  # before the scan; a JPEG has about ten, with a large profile a hundred
MAX_FILL_BYTES = 4096  # in front of a segment
_METADATA = {*range(0xE1, 0xF0), 0xFE} - {0xEE}  # APP1 to APP15 and comments, without Adobe's APP14
SIGNATURE = b"\xff\xd8\xff"
MAX_SCANS = 100  # a progressive JPEG has about ten; each scan costs as much as the whole picture
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither data of a scan nor a restart
_TEM, _END, _SCAN = 0x01, 0xD9, 0xDA


def has_several_pictures(image: Image.Image) -> bool:
    """Whether an opened file shows several pictures; thumbnails, previews and gain maps do not count."""
    # Not `n_frames` alone: counting to the end of a GIF of thousands of tiny frames takes seconds.
    if not getattr(image, "is_animated", False) or image.format == "TIFF":
        return False
    if not isinstance(image, MpoImageFile):
        return True
    assert image.mpinfo  # Pillow makes no MPO without it
    entries = image.mpinfo[0xB002]
    return any(str(entry["Attribute"]["MPType"]).startswith("Multi-Frame") for entry in entries[1:])


def segments(jpeg: bytes) -> list[tuple[int, int, int]]:
    """Marker, start and end of each segment before the first scan.

    Raises UndecodablePicture for thousands of segments or fill bytes, which Pillow would take seconds to read.
    """
    found: list[tuple[int, int, int]] = []
    behind = 2
    for marker, start, end in _segments(jpeg):
        if len(found) > MAX_SEGMENTS or start - behind > MAX_FILL_BYTES:
            raise UndecodablePicture(
                f"The JPEG has more than {MAX_SEGMENTS} segments or {MAX_FILL_BYTES} fill bytes before its scan."
            )
        if marker == _SCAN:
            break
        found.append((marker, start, end))
        behind = end
    return found


def check_scans(jpeg: bytes) -> None:
    """Raises UndecodablePicture for more than a hundred scans; the film behind a phone's photo does not count."""
    if jpeg.count(b"\xff\xda") <= MAX_SCANS:  # which is quick to tell
        return
    if sum(marker == _SCAN for marker, _, _ in _segments(jpeg)) > MAX_SCANS:
        raise UndecodablePicture(f"The JPEG has more than {MAX_SCANS} scans.")


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to the end of the picture; a scan's data follows its segment."""
    at = 2
    while found := _MARKER.search(jpeg, at):
        marker, at = jpeg[found.end() - 1], found.end()
        if marker == _END:
            return
        if marker != _TEM:
            at += int.from_bytes(jpeg[at : at + 2])
        yield marker, found.start(), at


def without_metadata(jpeg: bytes) -> bytes:
    """The JPEG without its application segments and comments, except those that tell its colours (JFIF, Adobe)."""
    found = segments(jpeg)
    kept = [jpeg[start:end] for marker, start, end in found if marker not in _METADATA]
    return b"".join((jpeg[:2], *kept, jpeg[found[-1][2] if found else 2 :]))
