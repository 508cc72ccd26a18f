"""What travels between a kind's reader, the pipeline and its writer."""

from dataclasses import dataclass
from typing import Any, Literal

from app.imaging.encode import Format
from app.imaging.quality_gate import Decision, RoutingPolicy
from model_store.tiling import Geometry

KindName = Literal["folder", "tar", "parquet", "lmdb"]


@dataclass(frozen=True)
class Options:
    """What was asked for, the same for every picture of a job.

    images: which of several pictures of a sample; a Parquet column, a prefix of LMDB keys, an ending in a tar.
    """

    format: Format
    geometry: Geometry
    policy: RoutingPolicy
    images: str | None


@dataclass(frozen=True)
class Unit:
    """What is done as a whole or not at all. weight: its share of the progress, in pictures or bytes."""

    name: str
    weight: int
    content: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """One item that has no answer, and why; `code` as in the API's problems."""

    item: str
    code: str
    detail: str


@dataclass(frozen=True)
class Entry:
    """One item of a unit. header: what the kind's writer needs to write it back."""

    name: str
    data: bytes
    is_picture: bool = True  # others are copied
    header: Any = None
    failure: Failure | None = None  # it could not even be read


@dataclass(frozen=True)
class Result:
    """What is to be written; nothing where it failed."""

    entry: Entry
    data: bytes = b""
    decision: Decision | None = None
    failure: Failure | None = None
