"""The records that pass between the reader of a kind, the pipeline and the writer."""

from dataclasses import dataclass
from typing import Any, Literal

from app.imaging.encode import Format
from app.imaging.quality_gate import Decision, RoutingPolicy
from model_store.tiling import Geometry

KindName = Literal["folder", "tar", "parquet", "lmdb"]


@dataclass(frozen=True)
class JobOptions:
    """The options of a job, the same for all its pictures."""

    format: Format
    geometry: Geometry
    policy: RoutingPolicy
    images: str | None  # selects the pictures: a Parquet column, a prefix of LMDB keys, or an ending of names


@dataclass(frozen=True)
class Unit:
    """The smallest part of a job that is resumed. weight: its share of the progress, in pictures or bytes."""

    name: str
    weight: int
    content: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """One failed item and the reason; `code` as in the problems of the API."""

    item: str
    code: str
    detail: str


@dataclass(frozen=True)
class Entry:
    """One item of a unit. header: data of the kind's own that its writer needs."""

    name: str
    data: bytes
    is_picture: bool = True  # if not, it is copied
    header: Any = None
    failure: Failure | None = None  # found while reading it
    left_out: str | None = None  # the kind of a file that is of no use: it is counted, and not written


@dataclass(frozen=True)
class EntryResult:
    """The outcome for one entry. data: to write; empty after a failure. decision: None for a copied entry."""

    entry: Entry
    data: bytes = b""
    decision: Decision | None = None
    failure: Failure | None = None
