"""A JPEG without its metadata, and the roles of several pictures in one file. Source: CIPA DC-007 (MPO)."""

from PIL import Image
from PIL.MpoImagePlugin import MpoImageFile

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


def without_metadata(jpeg: bytes) -> bytes:
    """The JPEG without its application segments and comments, except those that tell its colours (JFIF, Adobe)."""
    kept, at = [jpeg[:2]], 2
    while jpeg[at : at + 1] == b"\xff" and at + 4 <= len(jpeg):
        marker = jpeg[at + 1]
        if marker == 0xDA:
            break
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker in (0xE0, 0xEE):
            kept.append(jpeg[at:end])
        at = end
    return b"".join((*kept, jpeg[at:]))
