"""LMDB environments, such as TextZoom's -> the same environments with the same keys, the pictures super-resolved.

An environment has only one writer, so every unit (a range of keys) becomes a small environment in `_bulk/parts`.
At the end the parts are merged in the order of their keys, and a rename publishes the whole.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import lmdb

from app.bulk.entries import Entry, EntryResult, JobOptions, Unit
from app.bulk.ledger import Ledger
from app.bulk.publish import published
from app.errors import StartupError

MAP_BYTES = 1 << 40  # of address space; the file grows as needed
PREFIXES = ("image_lr-", "image-")  # TextZoom's LR pictures, or pictures without a pair


class Lmdbs:
    def __init__(self, source: Path, ledger: Ledger, options: JobOptions) -> None:
        self._source = source
        self._ledger = ledger
        self._images = options.images

    def units(self, size: int) -> Iterator[Unit]:
        """`size` keys each. Raises StartupError for an environment without pictures."""
        for folder in sorted(path.parent for path in self._source.rglob("data.mdb")):
            name = str(folder.relative_to(self._source))
            with _opened(folder) as environment, environment.begin() as transaction:
                prefix = self._prefix(transaction, folder)
                waiting: list[bytes] = []
                for key in transaction.cursor().iternext(values=False):
                    waiting.append(key)
                    if len(waiting) == size:
                        yield _unit(name, waiting, prefix)
                        waiting = []
                if waiting:
                    yield _unit(name, waiting, prefix)

    def _prefix(self, transaction: lmdb.Transaction, folder: Path) -> bytes:
        cursor = transaction.cursor()
        for prefix in PREFIXES if self._images is None else (self._images,):
            if cursor.set_range(prefix.encode()) and bytes(cursor.key()).startswith(prefix.encode()):
                return prefix.encode()
        wanted = " or ".join(repr(prefix) for prefix in ([self._images] if self._images else PREFIXES))
        raise StartupError(f"{folder} has no key that begins with {wanted}; name the pictures' with --images.")

    def read(self, unit: Unit) -> Iterator[Entry]:
        name, prefix, first, last = unit.content
        with _opened(self._source / name) as environment, environment.begin() as transaction:
            cursor = transaction.cursor()
            more = cursor.set_range(bytes.fromhex(first))
            while more and cursor.key() <= bytes.fromhex(last):
                key = cursor.key()
                is_picture = key.startswith(prefix.encode())
                yield Entry(f"{name}/{key.decode(errors='replace')}", cursor.value(), is_picture, key)
                more = cursor.next()

    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        with (
            published(self._part(number), staging=self._ledger.staging) as partial,
            _created(partial) as part,
            part.begin(write=True) as transaction,
        ):
            for result in results:
                if not result.failure:
                    transaction.put(result.entry.header, result.data, append=True)

    def close(self) -> None:
        """Merge every environment whose parts are complete; safe to repeat after a kill."""
        parts: dict[str, list[Path]] = {}
        for ref in self._ledger.refs():
            parts.setdefault(self._ledger.unit(ref).content[0], []).append(self._part(ref.number))
        for name, own in parts.items():
            target = self._ledger.output / name / "data.mdb"
            if not target.exists() and all(part.exists() for part in own):
                with published(target, staging=self._ledger.staging) as partial, _created(partial) as whole:
                    for part in own:
                        _append(part, whole)
            if target.exists():
                for part in own:
                    part.unlink(missing_ok=True)

    def _part(self, number: int) -> Path:
        return self._ledger.parts / f"{number:07d}.mdb"


def _unit(name: str, keys: list[bytes], prefix: bytes) -> Unit:
    shown = f"{name} from {keys[0].decode(errors='replace')}"
    pictures = sum(key.startswith(prefix) for key in keys)
    return Unit(shown, max(1, pictures), (name, prefix.decode(), keys[0].hex(), keys[-1].hex()))


def _opened(path: Path) -> lmdb.Environment:
    return lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, create=False)


def _created(path: Path) -> lmdb.Environment:
    return lmdb.open(str(path), subdir=False, map_size=MAP_BYTES, lock=False)


def _append(part: Path, whole: lmdb.Environment) -> None:
    with _opened(part) as source, source.begin() as reading, whole.begin(write=True) as writing:
        for key, value in reading.cursor():
            writing.put(key, value, append=True)
