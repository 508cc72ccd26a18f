"""Names of a ZIP's entries: those of the uploads, made safe to unpack on Linux, macOS and Windows."""

import re
import unicodedata
from pathlib import PureWindowsPath

_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")  # the picture's own; "word 3.5" keeps its ".5"
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')  # by Windows
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)", re.IGNORECASE)
_MAX_BYTES = 200  # in UTF-8; file systems take 255 and more, eCryptfs 143 characters


class EntryNames:
    """Distinct names, also where a file system ignores the case of letters."""

    def __init__(self, suffix: str) -> None:
        """suffix: of every entry, such as ".png"."""
        self._suffix = suffix
        self._taken: set[str] = set()

    def take(self, filename: str | None, *, otherwise: str) -> str:
        """A name for an upload. otherwise: the stem, if the upload has no usable name."""
        stem = safe_stem(filename or "") or otherwise
        name, number = stem + self._suffix, 2
        while name.casefold() in self._taken:
            name, number = f"{stem}-{number}{self._suffix}", number + 1
        self._taken.add(name.casefold())
        return name


def safe_stem(filename: str) -> str:
    """The last part of the path without its extension, with "_" for unsafe characters; "" if none is left."""
    name = unicodedata.normalize(
        "NFC", PureWindowsPath(filename).name
    )  # macOS sends accents as separate characters
    stem = _FORBIDDEN.sub("_", _EXTENSION.sub("", name))
    stem = "".join(letter if letter.isprintable() else "_" for letter in stem)
    stem = stem.encode()[:_MAX_BYTES].decode(errors="ignore").strip(" .")
    return f"_{stem}" if _RESERVED.match(stem) else stem
