"""Tar shards, such as WebDataset's -> tars with results in place of the pictures; other members are copied."""

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePosixPath

from app.bulk.entries import Entry, EntryResult, Failure, JobOptions, Unit
from app.bulk.ledger import Ledger
from app.bulk.publish import published
from app.bulk.shards import shard_paths, shards
from app.bulk.upscale import SUFFIXES

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz")


class Tars:
    """Members keep their order, names and times; a picture gets the suffix of the output format.

    A failed picture is left out; the other members of its sample stay. An archive is read as a stream, so it may
    be compressed; the output is not, since pictures already are.
    """

    def __init__(self, source: Path, ledger: Ledger, options: JobOptions) -> None:
        self._source = source
        self._ledger = ledger
        self._options = options

    def units(self, size: int) -> Iterator[Unit]:
        return shards(self._source, ENDINGS, target_suffix=".tar")

    def read(self, unit: Unit) -> Iterator[Entry]:
        shard, _ = shard_paths(self._source, unit, self._ledger.output)
        targets: set[str] = set()
        with tarfile.open(shard, "r|*") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isreg() else None
                data = stream.read() if stream else b""
                entry = Entry(member.name, data, self._is_picture(member), _copied(member))
                if entry.is_picture and (target := self._target(member.name)) in targets:
                    detail = f"Another picture of the shard became {target}."
                    failure = Failure(member.name, "duplicate_name", detail)
                    entry = replace(entry, data=b"", failure=failure)
                elif entry.is_picture:
                    targets.add(target)
                yield entry

    def _is_picture(self, member: tarfile.TarInfo) -> bool:
        ending = self._options.images
        ending_fits = ending is None or member.name.endswith(f".{ending}")
        return member.isreg() and ending_fits and PurePosixPath(member.name).suffix.lower() in SUFFIXES

    def _target(self, name: str) -> str:
        return str(PurePosixPath(name).with_suffix(f".{self._options.format}"))

    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        _, target = shard_paths(self._source, unit, self._ledger.output)
        with (
            published(target, staging=self._ledger.staging) as partial,
            tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for result in results:
                if result.failure:
                    continue
                header: tarfile.TarInfo = result.entry.header
                if result.entry.is_picture:
                    header.name = self._target(header.name)
                header.size = len(result.data)
                archive.addfile(header, BytesIO(result.data))

    def close(self) -> None:
        """Nothing is left to do."""


def _copied(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without extended headers, whose old name and size would override the new ones."""
    copy = tarfile.TarInfo(member.name)
    copy.mtime, copy.mode, copy.type, copy.linkname = member.mtime, member.mode, member.type, member.linkname
    if member.isreg():
        copy.type = tarfile.REGTYPE  # a sparse file is written out
    return copy
