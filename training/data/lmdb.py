"""Word crops in the LMDB layout of TextZoom, read as published.

    num-samples                  number of samples, as decimal text; written last
    label-%09d                   the text, UTF-8; numbers start at 1
    image_hr-%09d, image_lr-%09d the crop twice, an encoded picture (PNG, JPEG, ...)
    image-%09d                   instead of the two: a crop alone, as recogniser data sets have it

    for subset in find_subsets([Path("TextZoom/test")]):   # easy, hard, medium
        for sample in subset: ...

`training.data.lmdb_writer` writes to `<folder>.partial`, which readers skip, and renames it when it is complete.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import numpy.typing as npt

from model_store import pictures
from model_store.errors import PictureError
from model_store.lmdb_file import DamagedLmdb, check_length
from training.errors import DataError

Rgb = npt.NDArray[np.uint8]  # (H, W, 3)

COUNT = b"num-samples"
DATA_FILE = "data.mdb"
PARTIAL_SUFFIX = ".partial"

_log = logging.getLogger(__name__)
# (process, device, inode) -> environment. A process may open an LMDB file only once, but a run may train and
# evaluate on the same folder.
_shared: weakref.WeakValueDictionary[tuple[int, int, int], lmdb.Environment] = weakref.WeakValueDictionary()


def _forget_environments() -> None:
    """Close the environments in a forked child, which must not use its parent's; it opens its own."""
    for environment in list(_shared.values()):
        environment.close()
    _shared.clear()


os.register_at_fork(after_in_child=_forget_environments)


@dataclass(frozen=True, eq=False)
class Sample:
    """One word. hr, lr: uint8 (H, W, 3) RGB of any size; lr is None if only one crop is stored."""

    label: str
    hr: Rgb
    lr: Rgb | None = None


class Subset:
    """One LMDB folder, open for reading; safe to pickle to workers and to use after a fork.

    name: its name in reports. unreadable: samples skipped so far by this process.
    DataError at once when the folder is missing, half-written, or no LMDB.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self.folder = Path(folder)
        self.name = name if name is not None else self.folder.resolve().name
        self.unreadable = 0
        self._opened: tuple[int, lmdb.Environment] | None = None  # (process, environment)
        self._count = _checked_count(self._environment(), self.folder)

    def __len__(self) -> int:
        """Samples stored, the unreadable ones included."""
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        """The readable samples in order."""
        for index in range(len(self)):
            sample = self.read(index)
            if sample is not None:
                yield sample

    def read(self, index: int) -> Sample | None:
        """Sample 0 <= index < len(self); None, a warning and one more `unreadable` if it cannot be read.

        A warning and not an error: TextZoom as published has broken pictures, which must not end an epoch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.folder}")
        try:
            with self._environment().begin(buffers=True) as transaction:
                return _decode_sample(transaction, index + 1)
        except (OSError, ValueError, PictureError, lmdb.Error) as error:
            self.unreadable += 1
            _log.warning("sample %d of %s skipped: %s", index + 1, self.folder, error)
            return None

    def label(self, index: int) -> str:
        """Text of sample 0 <= index < len(self), without decoding pictures; "" if it has no label."""
        with self._environment().begin() as transaction:
            return (transaction.get(b"label-%09d" % (index + 1)) or b"").decode(errors="replace")

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        self._opened = None  # LMDB closes the file when no subset uses it

    def _environment(self) -> lmdb.Environment:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), _open_for_reading(self.folder))
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def find_subsets(roots: Iterable[Path]) -> list[Subset]:
    """Every LMDB at or below the roots, sorted by path within each root, in the order of the roots.

    A subset is named by its path below the root (`easy`, `test/easy`), a root that is itself an LMDB by
    its folder. Unfinished `.partial` folders are passed over. DataError names a root that is missing or
    holds none.
    """
    subsets = []
    for root in map(Path, roots):
        if not root.is_dir():
            partial = root.with_name(root.name + PARTIAL_SUFFIX)
            if partial.exists():
                raise DataError(f"{root} is half-written: only {partial.name} is there; run make-data again")
            raise DataError(f"{root} is not a folder{'' if root.exists() else ': it does not exist'}")
        folders = sorted(
            file.parent
            for file in root.rglob(DATA_FILE)
            if not any(part.endswith(PARTIAL_SUFFIX) for part in file.relative_to(root).parts)
        )
        if not folders:
            raise DataError(f"{root} holds no LMDB ({DATA_FILE}), neither itself nor in its folders")
        subsets += [
            Subset(folder, None if folder == root else folder.relative_to(root).as_posix()) for folder in folders
        ]
    return subsets


def _open_for_reading(folder: Path) -> lmdb.Environment:
    if not (folder / DATA_FILE).is_file():
        raise DataError(f"{folder} holds no LMDB: there is no {DATA_FILE} in it")
    file = (folder / DATA_FILE).stat()
    key = (os.getpid(), file.st_dev, file.st_ino)
    environment = _shared.get(key)
    if environment is None:
        try:
            # No lock: data may lie on a read-only file system. No readahead: training reads at random.
            environment = lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
        except lmdb.Error as error:
            raise DataError(f"{folder} cannot be opened as an LMDB: {error}") from error
        _shared[key] = environment
    return environment


def _checked_count(environment: lmdb.Environment, folder: Path) -> int:
    """Read num-samples of a complete file. DataError if the file is incomplete.

    The file's length is checked first: reading beyond the end of a truncated file kills the process (SIGBUS).
    """
    try:
        check_length(environment, folder / DATA_FILE)
    except DamagedLmdb as error:
        raise DataError(f"{folder} is half-written: {error}") from error
    with environment.begin() as transaction:
        stored = transaction.get(COUNT)
        if stored is None:
            raise DataError(f"{folder} is half-written or no TextZoom data: it has no num-samples")
        if not stored.isdigit() or not int(stored):
            raise DataError(f"{folder} has num-samples {stored.decode(errors='replace')!r}; expected 1 or more")
        if transaction.get(b"label-%09d" % int(stored)) is None:
            raise DataError(f"{folder} is half-written: num-samples is {int(stored)}, but the last has no label")
    return int(stored)


def _decode_sample(transaction: lmdb.Transaction, number: int) -> Sample:
    label = _stored(transaction, b"label-%09d" % number)
    alone = transaction.get(b"image-%09d" % number)
    if alone is not None:
        return Sample(bytes(label).decode(), _decode_picture(alone))
    return Sample(
        bytes(label).decode(),
        _decode_picture(_stored(transaction, b"image_hr-%09d" % number)),
        _decode_picture(_stored(transaction, b"image_lr-%09d" % number)),
    )


def _stored(transaction: lmdb.Transaction, key: bytes) -> bytes | memoryview:
    value = transaction.get(key)
    if value is None:
        raise ValueError(f"there is no {key.decode()}")
    return value


def _decode_picture(encoded: bytes | memoryview) -> Rgb:
    return pictures.decode(bytes(encoded))
