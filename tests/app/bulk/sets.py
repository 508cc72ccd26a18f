"""Small data sets of every kind, and what they hold afterwards."""

import json
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.bulk.ledger import Ledger
from app.imaging.decode import decode
from tests.app.conftest import png

COLOURS = {f"{i:02d}": (10 * i + 20, 255 - 10 * i, 5 * i) for i in range(20)}
PNGS = {name: png(colour, width=40 + int(name)) for name, colour in COLOURS.items()}


def write_folder(root: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def read_folder(root: Path) -> dict[str, bytes]:
    """Everything but `_bulk`."""
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {str(p.relative_to(root)): p.read_bytes() for p in paths if "_bulk" not in p.parts}


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size, header.mtime = len(data), 1_700_000_000
            archive.addfile(header, BytesIO(data))


def read_tar(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        return [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]


def write_parquet(path: Path, **columns: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def write_lmdb(folder: Path, entries: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key.encode(), value)


def read_lmdb(folder: Path) -> dict[str, bytes]:
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return {bytes(key).decode(): bytes(value) for key, value in transaction.cursor()}


def check(data: bytes, name: str) -> None:
    """The result of that picture and no other, at twice its size."""
    rgb = decode(data)
    assert rgb.shape == (32, 2 * (40 + int(name)), 3)
    assert (np.abs(rgb.astype(int) - COLOURS[name]) <= 1).all(), name


def failures(output: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in Ledger(output).failures.read_text().splitlines()]
