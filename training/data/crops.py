"""Labelled word crops of a folder or tar, and the LR/HR pair that is made of one.

    labels.tsv: path, tab, text     -> CropSource -> Crop -> decode_crop -> make_pair -> (hr, lr)

`make-data` stores such pairs and `evaluate` makes them on the fly: equal seeds give equal pixels in both.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from PIL import Image

from model_store.pixels import Rgb, resize
from training.data.degrade import degrade_pair
from training.data.degrade_config import DegradeConfig, preset
from training.errors import DataError

LABELS = "labels.tsv"
MIN_HEIGHT = 28  # pixels: lower crops are no HR, for they would have to be enlarged to HR_HEIGHT
HR_HEIGHT = 32  # pixels: TextZoom's, and what the lengths in DegradeConfig are stated for
SEED = 1024  # the published configuration's


@dataclass(frozen=True)
class Crop:
    """One labelled crop. content: the encoded picture, None where `labels.tsv` names a file that is not there."""

    name: str
    label: str
    content: bytes | None


class CropSource:
    """The crops of a folder, or of a tar (plain or compressed), in the order of its labels.tsv.

    DataError at once when the path is neither, has no labels.tsv, or a line of it has no tab.
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
    """uint8 (H, W, 3) RGB; DataError says why there is no picture."""
    if crop.content is None:
        raise DataError(f"{crop.name} is not there")
    try:
        with Image.open(io.BytesIO(crop.content)) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise DataError(f"{crop.name} cannot be decoded: {exc}") from exc  # SyntaxError: a broken PNG


def make_pair(rgb: Rgb, *, config: DegradeConfig, seed: int) -> tuple[Rgb, Rgb]:
    """A sharp crop -> (hr, lr): HR of height 32 with the crop's proportion, LR of half its sides.

    Brought to one height first, for the blur is stated in pixels of a 32 px word: at 64 px it would be half
    as strong. The stretch to 128x32 is left to the reader of the pair, so that blur stays round.
    """
    height, width = rgb.shape[:2]
    even = max(4, 2 * round(width * HR_HEIGHT / height / 2))
    hr = resize(rgb, height=HR_HEIGHT, width=even)
    return degrade_pair(hr, config=config, seed=seed)


def sample_seed(seed: int, name: str) -> int:
    """A sample's own seed, from the run's and its name: leaving others out does not change it."""
    return int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "big")


def named_config(name: str) -> DegradeConfig:
    """A preset by name, "default" being DegradeConfig as it stands; ConfigError lists the names."""
    return DegradeConfig() if name == "default" else preset(name)


@contextmanager
def _reader(path: Path) -> Iterator[Callable[[str], bytes | None]]:
    """A function from a name to its bytes, None where there are none, of a folder or a tar."""
    if path.is_dir():
        yield lambda name: _read_file(path / name)
        return
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(tarfile.open(path))
            members = {member.name.removeprefix("./"): member for member in archive if member.isfile()}
        except FileNotFoundError as exc:
            raise DataError(f"{path} does not exist") from exc
        except (OSError, tarfile.TarError, EOFError) as exc:  # EOFError: a compressed tar cut short
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
    except (OSError, tarfile.TarError, EOFError):
        return None


def _parse_labels(table: bytes, path: Path) -> list[tuple[str, str]]:
    entries = []
    for number, line in enumerate(table.decode("utf-8", errors="replace").splitlines(), start=1):
        name, tab, label = line.partition("\t")
        if not line.strip():
            continue
        if not tab:
            raise DataError(f"{path}: line {number} of {LABELS} has no tab: {line[:60]!r}")
        entries.append((name, label))
    if not entries:
        raise DataError(f"{path}: {LABELS} is empty")
    return entries
