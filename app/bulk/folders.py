"""A folder of pictures -> the same folder of results; each file appears by a rename."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from app.bulk.entries import Entry, EntryResult, Failure, JobOptions, Unit
from app.bulk.ledger import Ledger
from app.bulk.publish import write_whole
from app.bulk.upscale import SUFFIXES
from app.errors import StartupError


class Folders:
    def __init__(self, source: Path, ledger: Ledger, options: JobOptions) -> None:
        self._source = source
        self._ledger = ledger
        self._suffix = f".{options.format}"

    def units(self, size: int) -> Iterator[Unit]:
        """`size` pictures each, sorted by path. Raises StartupError if two pictures have the same target."""
        waiting: list[str] = []
        for picture in self._pictures():
            waiting.append(picture)
            if len(waiting) == size:
                yield _unit(waiting)
                waiting = []
        if waiting:
            yield _unit(waiting)

    def _pictures(self) -> Iterator[str]:
        for folder, below, names in os.walk(self._source):
            below.sort()
            targets: dict[str, str] = {}
            for name in sorted(name for name in names if Path(name).suffix.lower() in SUFFIXES):
                path = Path(folder, name).relative_to(self._source)
                target = path.stem
                if target in targets:
                    raise StartupError(f"{targets[target]} and {path} would both become {target}{self._suffix}.")
                targets[target] = str(path)
                yield str(path)

    def read(self, unit: Unit) -> Iterator[Entry]:
        for path in unit.content:
            try:
                yield Entry(path, (self._source / path).read_bytes())
            except (FileNotFoundError, PermissionError) as exc:
                yield Entry(path, b"", failure=Failure(path, "unreadable", str(exc)))

    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        for result in results:
            if not result.failure:
                target = (self._ledger.output / result.entry.name).with_suffix(self._suffix)
                write_whole(target, result.data, staging=self._ledger.staging, flush=False)
        os.sync()  # once per unit: two flushes per picture would be slower than a GPU

    def close(self) -> None:
        """Nothing is left to do."""


def _unit(pictures: list[str]) -> Unit:
    return Unit(f"{pictures[0]} to {pictures[-1]}", len(pictures), tuple(pictures))
