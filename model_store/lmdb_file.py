"""Checks that an LMDB file is whole; reading one that is cut short or damaged can kill the process.

    check_length(environment, file)   the length that its meta page names
    check(file)                       every page of keys too, read by a child process

LMDB maps the file into memory. To read beyond its end is a bus error, and a damaged page can fail an assertion.
"""

import signal
import subprocess
import sys
from pathlib import Path

import lmdb


class DamagedLmdb(Exception):
    """The file cannot be read as a whole; the message is the reason."""


def check_length(environment: lmdb.Environment, file: Path) -> None:
    """Raises DamagedLmdb if `file`, the data of the environment, is shorter than its meta page says."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    present = file.stat().st_size
    if present < needed:
        raise DamagedLmdb(f"{file.name} has {present} of {needed} bytes")


def check(file: Path) -> None:
    """Reads all keys in a child process, which may be killed by it. Raises DamagedLmdb."""
    child = subprocess.run(
        [sys.executable, __file__, str(file)], capture_output=True, text=True, errors="replace", check=False
    )
    if child.returncode < 0:
        end = signal.Signals(-child.returncode).name
        raise DamagedLmdb(f"a page of {file.name} is damaged, which ended a process that read it ({end})")
    if child.returncode:
        raise DamagedLmdb(child.stderr.strip().rpartition("\n")[2])


def _read_all(file: Path) -> None:
    with lmdb.open(str(file), subdir=False, readonly=True, lock=False) as environment:
        check_length(environment, file)
        stored, found = environment.stat()["entries"], 0
        if not stored:  # a writer that was killed before its first commit
            raise DamagedLmdb(f"{file.name} has no entries")
        with environment.begin(buffers=True) as reading:
            for _, value in reading.cursor():
                bytes(value[-1:])  # touches the end of the value, which may lie beyond the file
                found += 1
                if found > stored:  # a damaged page may lead in a circle
                    break
        if found != stored:
            raise DamagedLmdb(f"{file.name} has {found} of {stored} entries")


if __name__ == "__main__":
    try:
        _read_all(Path(sys.argv[1]))
    except (DamagedLmdb, lmdb.Error, OSError) as exc:
        sys.exit(str(exc))
