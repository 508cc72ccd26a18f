"""The kinds of input, and the kind of a path. A library is imported only for the kind that needs it."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol, get_args

from app.bulk.entries import Entry, EntryResult, JobOptions, KindName, Unit
from app.bulk.ledger import Ledger
from app.bulk.upscale import SUFFIXES
from app.errors import StartupError

MODULES: dict[KindName, tuple[str, str]] = {
    "folder": ("app.bulk.folders", "Folders"),
    "tar": ("app.bulk.tars", "Tars"),
    "parquet": ("app.bulk.parquets", "Parquets"),
    "lmdb": ("app.bulk.lmdbs", "Lmdbs"),
}


class Kind(Protocol):
    """Reads one kind of input, and writes the results in the same kind."""

    def units(self, size: int) -> Iterator[Unit]:
        """All units. size: pictures or keys per unit, for kinds without shards. Raises StartupError."""
        ...

    def read(self, unit: Unit) -> Iterator[Entry]:
        """All entries of the unit, in order. Raises the library's exceptions if the unit cannot be read."""
        ...

    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        """results: one per entry. On return, the unit's output is complete and on disk."""
        ...

    def close(self) -> None:
        """Called when no unit is in progress; may be called again."""
        ...


def open_kind(name: KindName, source: Path, ledger: Ledger, options: JobOptions) -> Kind:
    module, cls = MODULES[name]
    try:
        kind: Kind = getattr(import_module(module), cls)(source, ledger, options)
    except ModuleNotFoundError as exc:
        raise StartupError(f"{name} needs the package {exc.name}: pip install 'text-telescope[bulk]'.") from exc
    return kind


def kind_of(source: Path) -> KindName:
    """The kind of the files at a path. Raises StartupError if it holds no known kind or several."""
    if not source.exists():
        raise StartupError(f"{source} does not exist.")
    paths = source.rglob("*") if source.is_dir() else [source]
    kinds = {kind for path in paths if (kind := _kind_of_file(path))}
    if len(kinds) != 1:
        holds = " and ".join(sorted(kinds)) or "nothing that is known"
        raise StartupError(f"{source} holds {holds}; name one of {', '.join(get_args(KindName))} with --kind.")
    return kinds.pop()


def _kind_of_file(path: Path) -> KindName | None:
    if path.name.endswith((".tar", ".tar.gz", ".tgz", ".tar.xz")):
        return "tar"
    if path.suffix == ".parquet":
        return "parquet"
    if path.name == "data.mdb":
        return "lmdb"
    return "folder" if path.suffix.lower() in SUFFIXES else None
