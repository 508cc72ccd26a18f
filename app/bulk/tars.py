"""Tar shards, WebDataset's included -> tars with the answers in the pictures' places and all else copied."""

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePosixPath

from app.bulk.entries import Entry, Failure, Options, Result, Unit
from app.bulk.ledger import Ledger
from app.bulk.publish import published
from app.bulk.shards import shard_paths, shards
from app.bulk.upscale import SUFFIXES

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz")


class Tars:
    """Members keep their order, names and times; a picture gets the suffix of the format asked for.

    A picture without an answer is left out, and what else its sample has stays. An archive is read as a stream, so
    it may be compressed; the answer is not, since pictures are.
    """

    def __init__(self, source: Path, ledger: Ledger, options: Options) -> None:
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
                    why = Failure(member.name, "duplicate_name", f"Another picture of the shard became {target}.")
                    entry = replace(entry, data=b"", failure=why)
                elif entry.is_picture:
                    targets.add(target)
                yield entry

    def _is_picture(self, member: tarfile.TarInfo) -> bool:
        wanted = self._options.images
        ending_fits = wanted is None or member.name.endswith(f".{wanted}")
        return member.isreg() and ending_fits and PurePosixPath(member.name).suffix.lower() in SUFFIXES

    def _target(self, name: str) -> str:
        return str(PurePosixPath(name).with_suffix(f".{self._options.format}"))

    def write(self, number: int, unit: Unit, results: Iterable[Result]) -> None:
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
        """Every shard has its name already."""


def _copied(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the extended headers, which repeat the old name and size and would win over the new ones."""
    copy = tarfile.TarInfo(member.name)
    copy.mtime, copy.mode, copy.type, copy.linkname = member.mtime, member.mode, member.type, member.linkname
    if member.isreg():
        copy.type = tarfile.REGTYPE  # a sparse file is written out
    return copy
