"""Parquet files -> Parquet files with the results in the pictures' column and all other columns unchanged.

Three columns are added: `telescope_method`, `telescope_reason` and, for failed pictures, `telescope_error`.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.bulk.entries import Entry, EntryResult, Unit
from app.bulk.kinds import Shards
from app.errors import StartupError

ROWS = 1024  # per row group, and in memory at once: tens of megabytes of crops
KEYS = ("__key__", "key", "id")  # columns that name a row in the list of failures; without one, its number does
ADDED = ("telescope_method", "telescope_reason", "telescope_error")


class Parquets(Shards):
    errors = (pa.ArrowException, OSError)  # OSError: a damaged page or footer

    def planned(self, size: int) -> Iterator[Unit]:
        for unit in super().planned(size):
            shard = self.shard(unit)
            with suppress(*self.errors):  # damaged: its worker reports it
                self._column(pq.read_schema(shard), shard)
            yield unit

    def entries(self, unit: Unit) -> Iterator[Entry]:
        shard = self.shard(unit)
        with pq.ParquetFile(shard) as file:
            column = self._column(file.schema_arrow, shard)
            key = next((name for name in KEYS if name in file.schema_arrow.names), None)
            row = count()
            for batch in file.iter_batches(ROWS, columns=[column, *([key] if key else [])]):
                names = batch[key] if key else [f"row {next(row)}" for _ in range(batch.num_rows)]
                for name, picture in zip(names, _bytes(batch[column]), strict=True):
                    yield Entry(str(name), picture.as_py() or b"")

    def write(self, number: int, unit: Unit, results: Iterable[EntryResult]) -> None:
        shard = self.shard(unit)
        remaining = iter(results)
        with self.reading(unit):
            file = pq.ParquetFile(shard)
        with file, self.ledger.published(self.target(unit)) as partial:
            column = self._column(file.schema_arrow, shard)
            schema = _with_added(file.schema_arrow)
            with pq.ParquetWriter(partial, schema) as writer:
                for batch in self._batches(unit, file):
                    rows = list(islice(remaining, batch.num_rows))
                    writer.write_batch(_filled(batch, column, rows, schema))

    def _batches(self, unit: Unit, file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
        with self.reading(unit):
            yield from file.iter_batches(ROWS)

    def _column(self, schema: pa.Schema, shard: Path) -> str:
        """The pictures' column. Raises StartupError if no column or several can be meant."""
        candidates: list[str] = [field.name for field in schema if _holds_bytes(field.type)]
        wanted = [name for name in candidates if self.options.images in (None, name)]
        if len(wanted) != 1:
            raise StartupError(f"{shard} has {_described(schema, candidates)}.")
        return wanted[0]


def _described(schema: pa.Schema, candidates: list[str]) -> str:
    if candidates:
        return f"pictures in {' or '.join(candidates)}; name the one column with --images"
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    return f"no column of bytes, or of a struct with bytes, that could be pictures, but {columns[:200]}"


def _holds_bytes(kind: pa.DataType) -> bool:
    """Bytes, or the struct of bytes and path of pictures in Hugging Face data sets."""
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _bytes(pictures: pa.Array) -> pa.Array:
    return pictures.field("bytes") if pa.types.is_struct(pictures.type) else pictures


def _filled(batch: pa.RecordBatch, column: str, rows: list[EntryResult], schema: pa.Schema) -> pa.RecordBatch:
    old = batch[column]
    new = pa.array([None if row.failure else row.data for row in rows], _bytes(old).type)
    if pa.types.is_struct(old.type):
        fields = [new if field.name == "bytes" else old.field(field.name) for field in old.type]
        new = pa.StructArray.from_arrays(fields, fields=list(old.type))
    columns = [new if name == column else batch[name] for name in batch.schema.names if name not in ADDED]
    columns.append(pa.array([row.decision.method if row.decision else None for row in rows], pa.string()))
    columns.append(pa.array([row.decision.reason if row.decision else None for row in rows], pa.string()))
    columns.append(pa.array([row.failure.detail if row.failure else None for row in rows], pa.string()))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _with_added(schema: pa.Schema) -> pa.Schema:
    kept = {name: value for name, value in (schema.metadata or {}).items() if name != b"huggingface"}
    # Hugging Face's metadata lists the columns, and would refuse the added ones.
    old = [field for field in schema if field.name not in ADDED]  # the input may be the output of another job
    return pa.schema([*old, *(pa.field(name, pa.string()) for name in ADDED)], kept)
