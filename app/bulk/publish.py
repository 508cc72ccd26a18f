"""Files that appear whole or not at all, even after a kill or, if flushed, a power cut."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from model_store.durable import flush_to_disk


@contextmanager
def published(target: Path, *, staging: Path, flush: bool = True) -> Iterator[Path]:
    """A temporary path to write to; at the end it is renamed to the target.

    staging: a folder on the same file system. flush: False if the caller flushes many files at once.
    """
    partial = staging / f"{uuid4().hex}.partial"
    try:
        yield partial
        if flush:
            flush_to_disk(partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)
        if flush:
            flush_to_disk(target.parent)
    finally:
        with suppress(OSError):
            partial.unlink()


def write_whole(target: Path, data: bytes, *, staging: Path, flush: bool = True) -> None:
    with published(target, staging=staging, flush=flush) as partial:
        partial.write_bytes(data)
