"""A JPEG without its metadata, and the roles of several pictures in one file. Source: CIPA DC-007 (MPO)."""

from PIL import Image
from PIL.MpoImagePlugin import MpoImageFile

from model_store.errors import UndecodablePicture

MAX_SEGMENTS = 1000  # before the scan; a JPEG has about ten, with a large profile a hundred
_METADATA = {*range(0xE1, 0xF0), 0xFE} - {0xEE}  # APP1 to APP15 and comments, without Adobe's APP14
SIGNATURE = b"\xff\xd8\xff"


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
    """Marker, start and end of each segment before the scan.

    Raises UndecodablePicture for more than a thousand, which Pillow would take seconds to read.
    """
    found: list[tuple[int, int, int]] = []
    at = 2
    while jpeg[at : at + 1] == b"\xff" and jpeg[at + 1 : at + 2] not in (b"", b"\xda"):
        if len(found) == MAX_SEGMENTS:
            raise UndecodablePicture(f"The JPEG has more than {MAX_SEGMENTS} segments before its scan.")
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        found.append((jpeg[at + 1], at, end))
        at = end
    return found


def without_metadata(jpeg: bytes) -> bytes:
    """The JPEG without its application segments and comments, except those that tell its colours (JFIF, Adobe)."""
    found = segments(jpeg)
    kept = [jpeg[start:end] for marker, start, end in found if marker not in _METADATA]
    return b"".join((jpeg[:2], *kept, jpeg[found[-1][2] if found else 2 :]))
