"""The kinds of input, and which one a path is. A library is imported only for the kind that needs it."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol, get_args

from app.bulk.entries import Entry, KindName, Options, Result, Unit
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
    """One kind of input, and how its answers are written back."""

    def units(self, size: int) -> Iterator[Unit]:
        """The whole job; size: pictures or keys in a unit, where no file bounds it. Raises StartupError."""
        ...

    def read(self, unit: Unit) -> Iterator[Entry]:
        """Everything in the unit, in order. What a library raises means that the unit cannot be read."""
        ...

    def write(self, number: int, unit: Unit, results: Iterable[Result]) -> None:
        """One result for each entry; when it returns, the unit's output is there for good."""
        ...

    def close(self) -> None:
        """Called once no unit is under way; may be called again."""
        ...


def open_kind(name: KindName, source: Path, ledger: Ledger, options: Options) -> Kind:
    module, cls = MODULES[name]
    try:
        kind: Kind = getattr(import_module(module), cls)(source, ledger, options)
    except ModuleNotFoundError as exc:
        raise StartupError(f"{name} needs the package {exc.name}: pip install 'text-telescope[bulk]'.") from exc
    return kind


def kind_of(source: Path) -> KindName:
    """By what lies there. Raises StartupError where it is nothing, or several things."""
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
