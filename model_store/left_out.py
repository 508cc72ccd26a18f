"""The files beside pictures: which ones a system has left there, and the line of a summary that counts them.

A Mac writes `._000.png` beside `000.png` (AppleDouble: its attributes, no picture) and `__MACOSX/` into archives.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

SYSTEM_FILES = {".ds_store": ".DS_Store", "thumbs.db": "Thumbs.db", "desktop.ini": "desktop.ini"}
LISTED = 8  # kinds in a summary; a folder can hold hundreds of suffixes


def system_file(name: str) -> str | None:
    """The kind of a file that a system left beside pictures, such as "AppleDouble"; None for any other file."""
    path = PurePosixPath(name)
    if path.name.startswith("._") or "__MACOSX" in path.parts:
        return "AppleDouble"
    return SYSTEM_FILES.get(path.name.lower())


def kind_of_file(name: str) -> str:
    """Its name in a summary: the system's kind, or the suffix."""
    return system_file(name) or PurePosixPath(name).suffix.lower() or "without a suffix"


def left_out(counts: Mapping[str, int]) -> str:
    """`3 files left out: 2 AppleDouble, 1 .txt`; empty if there are none."""
    total = sum(counts.values())
    if not total:
        return ""
    kinds = sorted(counts, key=lambda kind: (-counts[kind], kind))
    listed = [f"{counts[kind]} {kind}" for kind in kinds[:LISTED]]
    others = sum(counts[kind] for kind in kinds[LISTED:])
    listed += [f"{others} of other kinds"] if others else []
    return f"{total} file{'' if total == 1 else 's'} left out: {', '.join(listed)}"
