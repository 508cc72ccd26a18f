"""A folder of pictures -> the same folder of results; each file appears by a rename."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from app.bulk.entries import Entry, EntryResult, Failure, Unit
from app.bulk.kinds import Kind, batched, claim, is_picture


class Folders(Kind):
    def units(self, size: int) -> Iterator[Unit]:
        """`size` pictures each, sorted by path. Raises StartupError if two pictures have the same target."""
        for pictures in batched(self._pictures(), size):
            yield Unit(f"{pictures[0]} to {pictures[-1]}", len(pictures), tuple(pictures))

    def _pictures(self) -> Iterator[str]:
        for folder, below, names in os.walk(self.source):
            below.sort()
            targets: dict[str, str] = {}
            for name in sorted(filter(is_picture, names)):
                path = Path(folder, name).relative_to(self.source)
                claim(targets, f"{path.stem}.{self.options.format}", str(path))
                yield str(path)

    def read(self, unit: Unit) -> Iterator[Entry]:
        for path in unit.content:
            try:
                yield Entry(path, (self.source / path).read_bytes())
            except (FileNotFoundError, PermissionError) as exc:
                yield Entry(path, b"", failure=Failure(path, "unreadable", str(exc)))

    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        for result in results:
            if not result.failure:
                target = (self.ledger.output / result.entry.name).with_suffix(f".{self.options.format}")
                with self.ledger.published(target, flush=False) as partial:
                    partial.write_bytes(result.data)
        os.sync()  # once per unit: two flushes per picture would be slower than a GPU
