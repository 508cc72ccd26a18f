"""Tar shards, such as WebDataset's -> tars with results in place of the pictures; other members are copied."""

import tarfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import PurePosixPath

from app.bulk.entries import Entry, EntryResult, Failure, Unit
from app.bulk.kinds import Shards, is_picture


class Tars(Shards):
    """Members keep their order, names and times; a picture gets the suffix of the output format.

    A failed picture is left out; the other members of its sample stay. An archive is read as a stream, so it may
    be compressed; the output is not, since pictures already are.
    """

    def read(self, unit: Unit) -> Iterator[Entry]:
        targets: set[str] = set()
        with tarfile.open(self.shard(unit), "r|*") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isreg() else None
                data = stream.read() if stream else b""
                failure = None
                if is_input := self._is_input(member):
                    target = self._target_name(member.name)
                    if target in targets:
                        detail = f"Another picture of the shard became {target}."
                        failure = Failure(member.name, "duplicate_name", detail)
                    targets.add(target)
                yield Entry(member.name, data, is_input, _copied(member), failure)

    def _is_input(self, member: tarfile.TarInfo) -> bool:
        ending = "" if self.options.images is None else f".{self.options.images}"
        return member.isreg() and member.name.endswith(ending) and is_picture(member.name)

    def _target_name(self, name: str) -> str:
        return str(PurePosixPath(name).with_suffix(f".{self.options.format}"))

    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        with (
            self.ledger.published(self.target(unit)) as partial,
            tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for result in results:
                if result.failure:
                    continue
                header: tarfile.TarInfo = result.entry.header
                if result.entry.is_picture:
                    header.name = self._target_name(header.name)
                header.size = len(result.data)
                archive.addfile(header, BytesIO(result.data))


def _copied(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without extended headers, whose old name and size would override the new ones."""
    copy = tarfile.TarInfo(member.name)
    copy.mtime, copy.mode, copy.type, copy.linkname = member.mtime, member.mode, member.type, member.linkname
    if member.isreg():
        copy.type = tarfile.REGTYPE  # a sparse file is written out
    return copy
