"""LMDB environments, such as TextZoom's -> the same environments with the same keys, the pictures super-resolved.

An environment has only one writer, so every unit (a range of keys) becomes a small environment in `_bulk/parts`.
At the end the parts are merged in the order of their keys, and a rename publishes the whole.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from app.bulk.entries import Entry, EntryResult, Unit
from app.bulk.kinds import Kind, batched
from app.errors import StartupError
from model_store.lmdb_file import DamagedLmdb, check, check_length

MAP_BYTES = 1 << 40  # of address space; the file grows as needed
PREFIXES = ("image_lr-", "image-")  # TextZoom's LR pictures, or pictures without a pair


class Lmdbs(Kind):
    errors = (DamagedLmdb, lmdb.Error, OSError)

    def planned(self, size: int) -> Iterator[Unit]:
        """`size` keys each; a damaged environment is one unit, which fails until it is mended.

        Raises StartupError for an environment without pictures.
        """
        for file in sorted(self.files()):
            try:
                check(self.root / file)
            except DamagedLmdb:
                folder = str(Path(file).parent)
                yield Unit(folder, 1, self.whole(folder))
                continue
            with _transaction(self.root / file) as reading:
                prefix = self._prefix(reading.cursor(), (self.root / file).parent)
                for keys in batched(map(bytes, reading.cursor().iternext(values=False)), size):
                    pictures = sum(key.startswith(prefix.encode()) for key in keys)
                    name = str(Path(file).parent)
                    shown = f"{name} from {keys[0].decode(errors='replace')}"
                    yield Unit(shown, max(1, pictures), (name, prefix, keys[0].hex(), keys[-1].hex()))

    def whole(self, folder: str) -> tuple[str, ...]:
        return folder, "", "", ""

    def _prefix(self, cursor: lmdb.Cursor, folder: Path) -> str:
        prefixes = PREFIXES if self.options.images is None else (self.options.images,)
        for prefix in prefixes:
            if cursor.set_range(prefix.encode()) and bytes(cursor.key()).startswith(prefix.encode()):
                return prefix
        wanted = " or ".join(map(repr, prefixes))
        raise StartupError(f"{folder} has no key that begins with {wanted}; name the pictures' with --images.")

    def entries(self, unit: Unit) -> Iterator[Entry]:
        name, prefix, first, last = unit.content
        file = self.root / name / "data.mdb"
        if not prefix:  # of an environment that was damaged when the job was planned
            check(file)
        with _transaction(file) as reading:
            cursor = reading.cursor()
            prefix = prefix or self._prefix(cursor, file.parent)
            more = cursor.set_range(bytes.fromhex(first)) if first else cursor.first()
            while more and (not last or bytes(cursor.key()) <= bytes.fromhex(last)):
                key = bytes(cursor.key())
                is_picture = key.startswith(prefix.encode())
                yield Entry(f"{name}/{key.decode(errors='replace')}", bytes(cursor.value()), is_picture, key)
                more = cursor.next()

    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        with self.ledger.published(self._part(number)) as partial, _transaction(partial, write=True) as part:
            for result in results:
                if not result.failure:
                    part.put(result.entry.header, result.data, append=True)

    def close(self) -> None:
        """Merge every environment whose parts are complete; safe to repeat after a kill."""
        parts: dict[str, list[Path]] = defaultdict(list)
        for ref in self.ledger.refs():
            parts[self.ledger.unit(ref).content[0]].append(self._part(ref.number))
        for name, own in parts.items():
            target = self.ledger.output / name / "data.mdb"
            if not target.exists() and all(part.exists() for part in own):
                with self.ledger.published(target) as partial:
                    for part in own:
                        _append(part, partial)
            if target.exists():
                for part in own:
                    part.unlink(missing_ok=True)

    def _part(self, number: int) -> Path:
        return self.ledger.parts / f"{number:07d}.mdb"


@contextmanager
def _transaction(path: Path, *, write: bool = False) -> Iterator[lmdb.Transaction]:
    environment = lmdb.open(str(path), subdir=False, map_size=MAP_BYTES, lock=False, readonly=not write)
    with environment:
        if not write:
            check_length(environment, path)
        with environment.begin(write=write) as transaction:
            yield transaction


def _append(part: Path, whole: Path) -> None:
    with _transaction(part) as reading, _transaction(whole, write=True) as writing:
        for key, value in reading.cursor():
            writing.put(key, value, append=True)
