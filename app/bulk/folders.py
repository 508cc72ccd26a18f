"""A folder of pictures -> the same folder of results; each file appears by a rename."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from app.bulk.entries import Entry, EntryResult, Failure, Unit
from app.bulk.kinds import Kind, batched, claim


class Folders(Kind):
    errors = (OSError,)

    def planned(self, size: int) -> Iterator[Unit]:
        """`size` pictures each, sorted by path. Raises StartupError if two pictures have the same target."""
        for pictures in batched(self._pictures(), size):
            yield Unit(f"{pictures[0]} to {pictures[-1]}", len(pictures), tuple(pictures))

    def whole(self, folder: str) -> tuple[str, ...]:
        return (f"{folder}/",)

    def _pictures(self) -> Iterator[str]:
        folder, targets = "", dict[str, str]()
        for path in map(Path, self.files()):
            if str(path.parent) != folder:
                folder, targets = str(path.parent), {}
            claim(targets, f"{path.stem}.{self.options.format}", str(path))
            yield str(path)

    def entries(self, unit: Unit) -> Iterator[Entry]:
        for path in unit.content if not unit.content[0].endswith("/") else self._below(unit.content[0]):
            try:
                yield Entry(path, (self.root / path).read_bytes())
            except (FileNotFoundError, PermissionError) as exc:
                yield Entry(path, b"", failure=Failure(path, "unreadable", str(exc)))

    def _below(self, folder: str) -> Iterator[str]:
        """The pictures of a folder that could not be read before. Raises OSError if it still cannot be."""
        below = replace(self, source=self.source / folder, unreadable=[])
        for path in below._pictures():
            yield f"{folder}{path}"
        if below.unreadable:
            raise OSError(f"the folder {folder}{below.unreadable[0]} cannot be listed")

    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        for result in results:
            if not result.failure:
                target = (self.ledger.output / result.entry.name).with_suffix(f".{self.options.format}")
                with self.ledger.published(target, flush=False) as partial:
                    partial.write_bytes(result.data)
        os.sync()  # once per unit: two flushes per picture would be slower than a GPU
