"""Labelled word crops of a folder or tar, and the LR/HR pair made from one.

    labels.tsv: path, tab, text     -> CropSource -> Crop -> decode_crop -> make_pair -> (hr, lr)

`make-data` stores such pairs and `evaluate` makes them on the fly: equal seeds give equal pixels in both.
"""

from __future__ import annotations

import codecs
import csv
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from lzma import LZMAError
from pathlib import Path

from model_store import pictures
from model_store.errors import PictureError
from model_store.pixels import Rgb, resize
from training.data.degrade import degrade_pair
from training.data.degrade_config import DegradeConfig, preset
from training.errors import DataError

LABELS = "labels.tsv"
MIN_HEIGHT = 28  # pixels: lower crops would have to be enlarged too much for HR
HR_HEIGHT = 32  # pixels: TextZoom's; lengths in DegradeConfig are for this height
UNREADABLE = (OSError, tarfile.TarError, EOFError, zlib.error, LZMAError)  # of a tar that is cut short or damaged
SEED = 1024  # the published configuration's


@dataclass(frozen=True)
class Crop:
    """One labelled crop. content: the encoded picture, None if the file in `labels.tsv` is missing."""

    name: str
    label: str
    content: bytes | None


class CropSource:
    """The crops of a folder, or of a tar (plain or compressed), in the order of its labels.tsv.

    DataError at once when the path is neither, has no labels.tsv, or the labels are not UTF-8 or lack a tab.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        with _reader(self.path) as content:
            table = content(LABELS)
        if table is None:
            raise DataError(f"{self.path} has no {LABELS} (lines of path, tab, text)")
        self.entries = _parse_labels(table, self.path)
        self.digest = blake2b(table, digest_size=8).hexdigest()  # tells one version of the labels from another

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Crop]:
        with _reader(self.path) as content:
            for name, label in self.entries:
                yield Crop(name, label, content(name))


def decode_crop(crop: Crop) -> Rgb:
    """uint8 (H, W, 3) RGB. DataError if the file is missing or cannot be decoded."""
    if crop.content is None:
        raise DataError(f"{crop.name} is not there")
    try:
        return pictures.decode(crop.content)
    except PictureError as exc:
        raise DataError(f"{crop.name} cannot be decoded: {exc}") from exc


def make_pair(rgb: Rgb, *, config: DegradeConfig, seed: int) -> tuple[Rgb, Rgb]:
    """A sharp crop -> (hr, lr): HR of height 32 with the crop's proportion, LR of half its sides.

    The crop is resized before it is degraded, as the blur is in pixels of a 32 px word: at 64 px it would be half
    as strong. It is stretched to 128x32 only when the pair is read, so that the blur stays round.
    """
    height, width = rgb.shape[:2]
    even = max(4, 2 * round(width * HR_HEIGHT / height / 2))
    hr = resize(rgb, height=HR_HEIGHT, width=even)
    return degrade_pair(hr, config=config, seed=seed)


def sample_seed(seed: int, name: str) -> int:
    """Seed of one sample, from the run's seed and the sample's name: independent of other samples."""
    return int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "big")


def named_config(name: str) -> DegradeConfig:
    """A preset by name, or "default" for DegradeConfig(); ConfigError lists the names."""
    return DegradeConfig() if name == "default" else preset(name)


@contextmanager
def _reader(path: Path) -> Iterator[Callable[[str], bytes | None]]:
    """A function that reads a file of a folder or tar by its name -> bytes, or None if it is missing."""
    if path.is_dir():
        yield lambda name: _read_file(path / name)
        return
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(tarfile.open(path))
            members = {member.name.removeprefix("./"): member for member in archive if member.isfile()}
        except FileNotFoundError as exc:
            raise DataError(f"{path} does not exist") from exc
        except UNREADABLE as exc:
            raise DataError(f"{path} is neither a folder nor a whole tar") from exc
        yield lambda name: _read_member(archive, members.get(name.removeprefix("./")))


def _read_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo | None) -> bytes | None:
    try:
        stream = archive.extractfile(member) if member else None
        return stream.read() if stream else None
    except UNREADABLE:
        return None


def _parse_labels(table: bytes, path: Path) -> list[tuple[str, str]]:
    entries = []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", _text(table, path)), start=1):
        name, tab, label = _fields(line)
        if not line.strip():
            continue
        if not tab:
            raise DataError(f"{path}: line {number} of {LABELS} has no tab: {line[:60]!r}")
        entries.append((name.strip(), label.strip()))
    if not entries:
        raise DataError(f"{path}: {LABELS} is empty")
    return entries


def _text(table: bytes, path: Path) -> str:
    """UTF-8 with or without a byte order mark. Raises DataError for any other encoding."""
    if b"\0" in table or table.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path}: {LABELS} is UTF-16; save it as UTF-8")
    try:
        return table.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        number = table[: exc.start].count(b"\n") + 1
        raise DataError(f"{path}: line {number} of {LABELS} is not UTF-8; save the file as UTF-8") from exc


def _fields(line: str) -> tuple[str, str, str]:
    """Name, tab, label, without the quotes that a spreadsheet adds; quotes of the text itself stay.

    A spreadsheet quotes all fields, the whole line, or a field with a quote (doubled then) or a comma in it.
    """
    if line.startswith('"'):
        return "\t".join(next(csv.reader([line], delimiter="\t"))).partition("\t")
    name, tab, label = line.partition("\t")
    quoted = re.fullmatch(r'"((?:[^"]|"")*)"\s*', label)
    if quoted and re.search('""|,', quoted[1]):
        label = quoted[1].replace('""', '"')
    return name, tab, label
