"""The kinds of input, and the kind of a path. A library is imported only for the kind that needs it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TypeVar, get_args

from app.bulk.entries import Entry, EntryResult, JobOptions, KindName, Unit
from app.bulk.ledger import Ledger
from app.errors import StartupError

T = TypeVar("T")
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")  # of pictures, in any case
CLASSES: dict[KindName, str] = {"folder": "Folders", "tar": "Tars", "parquet": "Parquets", "lmdb": "Lmdbs"}
ENDINGS: dict[KindName, tuple[str, ...]] = {  # of paths; the first is that of the output
    "tar": (".tar", ".tar.gz", ".tgz", ".tar.xz"),
    "parquet": (".parquet",),
    "lmdb": ("/data.mdb",),
}


def is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


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
    """Reads one kind of input, and writes the results in the same kind."""

    name: KindName
    source: Path
    ledger: Ledger
    options: JobOptions

    @abstractmethod
    def units(self, size: int) -> Iterator[Unit]:
        """All units. size: pictures or keys per unit, for kinds without shards. Raises StartupError."""

    @abstractmethod
    def read(self, unit: Unit) -> Iterator[Entry]:
        """All entries of the unit, in order. Raises the library's exceptions if the unit cannot be read."""

    @abstractmethod
    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        """results: one per entry. On return, the unit's output is complete and on disk."""

    def close(self) -> None:  # noqa: B027  most kinds have nothing left to do
        """Called when no unit is in progress; may be called again."""

    @property
    def root(self) -> Path:
        return self.source if self.source.is_dir() else self.source.parent

    def files(self) -> list[str]:
        """The files of the kind, relative to `root`, sorted."""
        found = (path for path, kind in _known_paths(self.source) if kind == self.name and path.is_file())
        return [str(path.relative_to(self.root)) for path in sorted(found)]


class Shards(Kind):
    """The common part of tar and Parquet: every file is a unit, and becomes a file of the same name."""

    def units(self, size: int) -> Iterator[Unit]:
        """Raises StartupError if two files have the same target."""
        endings = ENDINGS[self.name]
        targets: dict[str, str] = {}
        for shard in self.files():
            target = shard.removesuffix(next(filter(shard.endswith, endings))) + endings[0]
            claim(targets, target, shard)
            yield Unit(shard, (self.root / shard).stat().st_size, (shard, target))

    def shard(self, unit: Unit) -> Path:
        return self.root / unit.content[0]

    def target(self, unit: Unit) -> Path:
        return self.ledger.output / unit.content[1]


def open_kind(name: KindName, source: Path, ledger: Ledger, options: JobOptions) -> Kind:
    try:
        kind: type[Kind] = getattr(import_module(f"app.bulk.{name}s"), CLASSES[name])
    except ModuleNotFoundError as exc:
        raise StartupError(f"{name} needs the package {exc.name}: pip install 'text-telescope[bulk]'.") from exc
    return kind(name, source, ledger, options)


def kind_of(source: Path) -> KindName:
    """The kind of the files at a path. Raises StartupError if it holds no known kind or several."""
    if not source.exists():
        raise StartupError(f"{source} does not exist.")
    if source.is_file() and is_picture(source.name):
        raise StartupError(f"{source} is one picture; use `python -m app upscale`.")
    kinds = {kind for _, kind in _known_paths(source)}
    if len(kinds) != 1:
        holds = " and ".join(sorted(kinds)) or "nothing that is known"
        raise StartupError(f"{source} holds {holds}; name one of {', '.join(get_args(KindName))} with --kind.")
    return kinds.pop()


def _known_paths(source: Path) -> Iterator[tuple[Path, KindName]]:
    for path in source.rglob("*") if source.is_dir() else [source]:
        if is_picture(path.name):
            yield path, "folder"
        for kind, endings in ENDINGS.items():
            if str(path).endswith(endings):
                yield path, kind
