"""The result of reading the header of a picture file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Header:
    """The header of a picture file.

    pixels: a file that Pillow decodes without turning it. orientation: of its pixels, 1 to 8 as EXIF counts; 0 if
    none is named. profile: ICC, not yet checked. bits: of a sample. gamma: of a PNG without profile. is_negative:
    white is level 0.
    """

    pixels: bytes
    orientation: int = 0
    profile: bytes | None = None
    bits: int = 8
    gamma: float | None = None
    is_negative: bool = False
