"""Tar shards, such as WebDataset's -> tars with results in place of the pictures; other members are copied."""

import bz2
import gzip
import lzma
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from app.bulk.entries import Entry, EntryResult, Failure, Unit
from app.bulk.kinds import Shards, is_picture
from model_store.left_out import system_file

Reader = Callable[[Any], Any]
# By a file's first bytes. `tarfile` itself would end after the first stream of several, as bgzip writes them.
COMPRESSIONS: dict[bytes, Reader] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class _Member(tarfile.TarInfo):
    """A header that must be whole: `tarfile` alone takes a damaged or missing one for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Member":
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the end mark
            raise
        except tarfile.HeaderError as exc:
            found = f"{exc} at byte {archive.offset}, where a member or the end mark should be"
            raise tarfile.ReadError(found) from exc


class Tars(Shards):
    """Members keep their order, names and times; a picture gets the suffix of the output format.

    A failed picture is left out; the other members of its sample stay. An archive is read as a stream, so it may
    be compressed; the output is not, since pictures already are.
    """

    errors = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)

    def entries(self, unit: Unit) -> Iterator[Entry]:
        targets: set[str] = set()
        with _open(self.shard(unit)) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isreg() else None
                data = stream.read() if stream else b""
                if kind := "device" if member.isdev() else system_file(member.name):
                    yield Entry(member.name, b"", is_picture=False, left_out=kind)
                    continue
                failure = None
                if is_input := member.isreg() and self._is_input(member.name):
                    target = self._target_name(member.name)
                    if posixpath.normpath(target) in targets:
                        detail = f"Another picture of the shard became {target}."
                        failure = Failure(member.name, "duplicate_name", detail)
                    targets.add(posixpath.normpath(target))
                yield Entry(member.name, data, is_input, header=_copied(member), failure=failure)

    def _is_input(self, name: str) -> bool:
        ending = "" if self.options.images is None else f".{self.options.images}"
        return name.endswith(ending) and is_picture(name)

    def _target_name(self, name: str) -> str:
        """The name as it is, `./` and all, since it binds the members of a sample; only the suffix changes."""
        return f"{posixpath.splitext(name)[0]}.{self.options.format}"

    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        failed: set[str] = set()
        with (
            self.ledger.published(self.target(unit)) as partial,
            tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for result in results:
                entry = result.entry
                if result.failure:
                    failed.add(posixpath.normpath(entry.name))
                if result.failure or entry.left_out:
                    continue
                header: tarfile.TarInfo = entry.header
                if header.islnk() and posixpath.normpath(header.linkname) in failed:
                    continue
                if entry.is_picture:
                    header.name = self._target_name(header.name)
                elif header.linkname and self._is_input(header.linkname):  # a link to a picture follows its name
                    header.name, header.linkname = map(self._target_name, (header.name, header.linkname))
                header.size = len(result.data)
                archive.addfile(header, BytesIO(result.data))


@contextmanager
def _open(shard: Path) -> Iterator[tarfile.TarFile]:
    with ExitStack() as stack:
        stream: Any = stack.enter_context(shard.open("rb"))
        start = stream.peek()
        for mark, decompressed in COMPRESSIONS.items():
            if start.startswith(mark):
                stream = stack.enter_context(decompressed(stream))
        yield stack.enter_context(tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member))


def _copied(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without extended headers, whose old name and size would override the new ones."""
    copy = tarfile.TarInfo(member.name)
    copy.mtime, copy.mode, copy.type, copy.linkname = member.mtime, member.mode, member.type, member.linkname
    if member.isreg():
        copy.type = tarfile.REGTYPE  # a sparse file is written out
    return copy
