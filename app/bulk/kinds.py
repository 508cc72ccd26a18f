"""The kinds of input, and the kind of a path. A library is imported only for the kind that needs it."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import ClassVar, TypeVar

from app.bulk.entries import Entry, EntryResult, JobOptions, KindName, Unit
from app.bulk.ledger import RECORDS, Ledger
from app.errors import StartupError
from model_store.left_out import kind_of_file, system_file
from model_store.optional import optional
from model_store.pictures import SUFFIXES

T = TypeVar("T")
CLASSES: dict[KindName, str] = {"folder": "Folders", "tar": "Tars", "parquet": "Parquets", "lmdb": "Lmdbs"}
ENDINGS: dict[KindName, tuple[str, ...]] = {  # of paths; the first is that of the output
    "tar": (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"),
    "parquet": (".parquet",),
    "lmdb": ("/data.mdb",),
}


class UnreadableUnit(Exception):
    """The unit cannot be read; the message is a sentence."""


def is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not system_file(name)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last may be shorter; as `itertools.batched` of Python 3.12."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def claim(targets: dict[T, T], target: T, source: T) -> None:
    """Note the source of a target. Raises StartupError if another source has the same target."""
    if target in targets:
        raise StartupError(f"{targets[target]} and {source} would both become {target}; process them separately.")
    targets[target] = source


@dataclass(frozen=True)
class Kind(ABC):
    """Reads one kind of input, and writes the results in the same kind.

    left_out, unreadable: the files of no use by kind, and the folders that cannot be read; `units` fills them.
    """

    name: KindName
    source: Path
    ledger: Ledger
    options: JobOptions
    left_out: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    errors: ClassVar[tuple[type[Exception], ...]] = ()  # of the library, if a unit cannot be read

    def units(self, size: int) -> Iterator[Unit]:
        """All units. size: pictures or keys per unit, for kinds without shards. Raises StartupError."""
        yield from self.planned(size)
        yield from (Unit(f"{folder}/", 1, self.whole(folder)) for folder in self.unreadable)

    @abstractmethod
    def planned(self, size: int) -> Iterator[Unit]:
        """The units of all files that can be reached."""

    @abstractmethod
    def whole(self, folder: str) -> tuple[str, ...]:
        """The content of a unit for a folder that could not be read: its worker fails, or reads it by then."""

    def read(self, unit: Unit) -> Iterator[Entry]:
        """All entries of the unit, in order. Raises UnreadableUnit."""
        with self.reading(unit):
            yield from self.entries(unit)

    @contextmanager
    def reading(self, unit: Unit) -> Iterator[None]:
        """Raises UnreadableUnit in place of the library's own exceptions."""
        try:
            yield
        except self.errors as exc:
            raise UnreadableUnit(f"{unit.name} cannot be read: {str(exc) or type(exc).__name__}") from exc

    @abstractmethod
    def entries(self, unit: Unit) -> Iterator[Entry]:
        """As `read`. Raises the library's exceptions."""

    @abstractmethod
    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        """results: one per entry. On return, the unit's output is complete and on disk."""

    def close(self) -> None:  # noqa: B027  most kinds have nothing left to do
        """Called when no unit is in progress; may be called again."""

    @property
    def root(self) -> Path:
        return self.source if self.source.is_dir() else self.source.parent

    def files(self) -> Iterator[str]:
        """The files of the kind, relative to `root`; every folder's are sorted."""
        for path in walk(self.source, self._note_unreadable):
            if _kind(path) == self.name:
                yield str(path.relative_to(self.root))
            elif path.name != "lock.mdb" or self.name != "lmdb":
                self.left_out[kind_of_file(str(path))] += 1

    def _note_unreadable(self, error: OSError) -> None:
        self.unreadable.append(str(Path(error.filename).relative_to(self.root)))


class Shards(Kind):
    """The common part of tar and Parquet: every file is a unit, and becomes a file of the same name."""

    def planned(self, size: int) -> Iterator[Unit]:
        """Raises StartupError if two files have the same target."""
        endings = ENDINGS[self.name]
        targets: dict[str, str] = {}
        for shard in sorted(self.files()):
            target = shard.removesuffix(next(filter(shard.endswith, endings))) + endings[0]
            claim(targets, target, shard)
            yield Unit(shard, (self.root / shard).stat().st_size, (shard, target))

    def whole(self, folder: str) -> tuple[str, ...]:
        return folder, folder

    def shard(self, unit: Unit) -> Path:
        """Raises UnreadableUnit for a folder."""
        path = self.root / unit.content[0]
        if path.is_dir():
            raise UnreadableUnit(f"{path} could not be read when the job began; start a job of its own for it.")
        return path

    def target(self, unit: Unit) -> Path:
        return self.ledger.output / unit.content[1]


def open_kind(name: KindName, source: Path, ledger: Ledger, options: JobOptions) -> Kind:
    """Raises StartupError if the kind's package is missing or broken."""
    with optional(f"--kind {name}", extra="bulk", error=StartupError):
        kind: type[Kind] = getattr(import_module(f"app.bulk.{name}s"), CLASSES[name])
    return kind(name, source, ledger, options)


def kind_of(source: Path) -> KindName:
    """The kind of the files at a path. Raises StartupError if it holds no known kind or several."""
    if not source.exists():
        raise StartupError(f"{source} does not exist.")
    if source.is_file() and is_picture(source.name):
        raise StartupError(f"{source} is one picture; use `text-telescope upscale`.")
    refused: list[OSError] = []
    kinds = {kind for path in walk(source, refused.append) if (kind := _kind(path))}
    if refused and not kinds:
        raise StartupError(f"{refused[0].filename} cannot be read: {refused[0].strerror}.")
    if not kinds:
        known = ", ".join(chain.from_iterable(ENDINGS.values())).replace("/", "")
        raise StartupError(f"{source} holds nothing that is known: no picture, and no {known}.")
    if len(kinds) > 1:
        raise StartupError(f"{source} holds {' and '.join(sorted(kinds))}; name one of them with --kind.")
    return kinds.pop()


def walk(source: Path, refused: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """The files at or below a path, also in linked folders, without the records of jobs.

    refused: receives folders that cannot be read.
    """
    if not source.is_dir():
        yield source
        return
    for folder, below, names in os.walk(source, onerror=refused, followlinks=True):
        below[:] = sorted(name for name in below if name != RECORDS and not _leads_back(Path(folder, name)))
        yield from (Path(folder, name) for name in sorted(names))


def _leads_back(folder: Path) -> bool:
    """Whether it is a link to a folder on the way to it, which would be walked without end."""
    return folder.is_symlink() and folder.resolve() in map(Path.resolve, folder.absolute().parents)


def _kind(path: Path) -> KindName | None:
    if system_file(str(path)):
        return None
    if is_picture(path.name):
        return "folder"
    return next((kind for kind, endings in ENDINGS.items() if str(path).endswith(endings)), None)
