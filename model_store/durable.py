"""Writes and renames that survive a power failure."""

import os
from pathlib import Path


def flush_to_disk(path: Path) -> None:
    """Flush a file's content, or a folder's names, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
