"""The manifest: the name, origin, figures and file digests of one published model.

    Manifest.parse(text) -> Manifest -> manifest.dump() -> text

A manifest is the root of trust of its artefact: it holds the SHA-256 of every other file, and the
SHA-256 of its own text names the artefact (`Artefact.digest`).
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from model_store.errors import InvalidManifest

SCHEMA_VERSION = 2  # 1 had no `any_size`, and is still read
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class PixelSpec:
    """Input and output of the network: LR (N, 3, height, width) -> SR (N, 3, scale*height, scale*width)."""

    height: int
    width: int
    scale: int
    channels: str = "RGB"
    low: float = 0.0  # the tensor value of a pixel of 0
    high: float = 1.0  # the tensor value of a pixel of 255

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.scale) < 1:
            raise InvalidManifest(f"pixels: height, width and scale must be positive, not {self}")
        if self.channels != "RGB":
            raise InvalidManifest(f"pixels.channels is {self.channels!r}; only 'RGB' is known")
        if not self.low < self.high:
            raise InvalidManifest(f"pixels.low ({self.low}) must be below pixels.high ({self.high})")


@dataclass(frozen=True)
class FileEntry:
    path: str  # POSIX, relative to the version's folder
    sha256: str
    bytes: int

    @classmethod
    def of(cls, path: Path, *, root: Path) -> "FileEntry":
        return cls(path.relative_to(root).as_posix(), sha256_of(path), path.stat().st_size)

    def __post_init__(self) -> None:
        pure = PurePosixPath(self.path)
        if not self.path or pure.is_absolute() or ".." in pure.parts:
            raise InvalidManifest(f"files: {self.path!r} must lie inside the version's folder")


@dataclass(frozen=True)
class Metric:
    """One measured figure, with the data it was measured on and the command or record it comes from."""

    name: str
    value: float
    unit: str
    data: str
    command: str


@dataclass(frozen=True)
class Manifest:
    name: str
    version: int
    pixels: PixelSpec
    files: Mapping[str, tuple[FileEntry, ...]]  # by top folder: "paddle", "onnx", "weights"; "docs" for the rest
    training: Mapping[str, Any]  # data and configuration the weights come from
    metrics: tuple[Metric, ...]
    licence: str
    git_commit: str  # of this repository, when the artefact was exported
    created_at: str  # ISO 8601, UTC
    any_size: tuple[tuple[int, int], ...] = ()  # sizes (height, width) the any-size files were checked at
    schema_version: int = field(default=SCHEMA_VERSION)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InvalidManifest(f"name {self.name!r} must be lower-case letters, digits, '.', '_' or '-'")
        if self.version < 1:
            raise InvalidManifest(f"version must be a positive whole number, not {self.version}")

    @property
    def input_sizes(self) -> tuple[tuple[int, int], ...]:
        """Every size (height, width) that the network may be run at, that of `pixels` first."""
        trained = (self.pixels.height, self.pixels.width)
        return (trained, *(size for size in self.any_size if size != trained))

    @property
    def ref(self) -> str:
        """`name:version`, as a user types it."""
        return f"{self.name}:{self.version}"

    def dump(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str) -> "Manifest":
        """Raises InvalidManifest, naming the field, for anything but a manifest of this schema."""
        try:
            raw = json.loads(text)
            found = raw["schema_version"]
            if found not in (1, SCHEMA_VERSION):
                raise InvalidManifest(
                    f"manifest schema {found!r} is not 1 or {SCHEMA_VERSION}, which this version reads"
                )
            files = {key: tuple(FileEntry(**entry) for entry in entries) for key, entries in raw["files"].items()}
            metrics = tuple(Metric(**metric) for metric in raw["metrics"])
            sizes = tuple((int(height), int(width)) for height, width in raw.get("any_size", ()))
            parts = {"pixels": PixelSpec(**raw["pixels"]), "files": files, "metrics": metrics, "any_size": sizes}
            return cls(**{**raw, **parts})
        except json.JSONDecodeError as exc:
            raise InvalidManifest(f"manifest.json is not JSON: {exc}") from exc
        except KeyError as exc:
            raise InvalidManifest(f"manifest.json lacks the field {exc}") from exc
        except (TypeError, AttributeError) as exc:
            raise InvalidManifest(f"manifest.json has a field of the wrong shape: {exc}") from exc


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def group_files(root: Path, *, skip: Sequence[str] = ()) -> dict[str, tuple[FileEntry, ...]]:
    """Every file below `root`, keyed by its top folder; files directly in `root` are "docs"."""
    groups: dict[str, list[FileEntry]] = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        relative = path.relative_to(root)
        if relative.as_posix() not in skip:
            key = relative.parts[0] if len(relative.parts) > 1 else "docs"
            groups.setdefault(key, []).append(FileEntry.of(path, root=root))
    return {key: tuple(entries) for key, entries in groups.items()}
