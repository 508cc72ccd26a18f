"""The model store: a folder `<name>/<version>/` per artefact, immutable once published.

    publish: staging folder -> copy beside the target -> digests -> manifest -> fsync -> one rename
    resolve: "tbsrn" (newest) or "tbsrn:2" -> Artefact -> files("onnx"), each verified

A version appears by a single `rename`, so a reader sees the whole artefact or none of it, and a
publisher killed halfway leaves only a hidden folder that the next publish removes.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from model_store.durable import flush_to_disk
from model_store.errors import DigestMismatch, InvalidManifest, ModelNotFound, VersionExists
from model_store.manifest import NAME, Manifest, Metric, PixelSpec, group_files, sha256_of

MANIFEST = "manifest.json"
_UNFINISHED = ".publishing-"


@dataclass(frozen=True)
class Artefact:
    """One published model: its folder and its manifest."""

    path: Path
    manifest: Manifest

    @classmethod
    def read(cls, path: Path) -> "Artefact":
        """Raises InvalidManifest naming the file when it cannot be read."""
        try:
            return cls(path, Manifest.parse((path / MANIFEST).read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as exc:
            raise InvalidManifest(f"{path / MANIFEST} cannot be read: {exc}") from exc
        except InvalidManifest as exc:
            raise InvalidManifest(f"{path / MANIFEST}: {exc}") from exc

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the manifest, and through it of every file."""
        return sha256_of(self.path / MANIFEST)

    def files(self, kind: str) -> list[Path]:
        """The files of one kind ("paddle", "onnx", "weights", "docs"), after checking their digests.

        Raises ModelNotFound if the artefact has no such kind, DigestMismatch naming the file.
        """
        entries = self.manifest.files.get(kind)
        if not entries:
            raise ModelNotFound(f"{self.manifest.ref} holds no {kind!r} files, only {sorted(self.manifest.files)}")
        for entry in entries:
            path = self.path / entry.path
            if not path.is_file():
                raise DigestMismatch(f"{path} is missing; publish {self.manifest.ref} again or restore the file")
            try:
                same = path.stat().st_size == entry.bytes and sha256_of(path) == entry.sha256
            except OSError as exc:
                raise DigestMismatch(f"{path} cannot be read: {exc.strerror}") from exc
            if not same:
                raise DigestMismatch(
                    f"{path} is not the file that was published as {self.manifest.ref} "
                    f"(SHA-256 differs from the manifest); restore it or publish again"
                )
        return [self.path / entry.path for entry in entries]


class ModelStore:
    def __init__(self, root: Path) -> None:
        self.root = root

    def artefacts(self) -> list[Artefact]:
        """Every artefact, by name and then version."""
        return [self._read(name, version) for name in self._names() for version in self._versions(name)]

    def resolve(self, ref: str) -> Artefact:
        """ "tbsrn" is the newest version, "tbsrn:2" that one. Raises ModelNotFound with the known models."""
        name, colon, wanted = ref.partition(":")
        versions = self._versions(name) if NAME.fullmatch(name) else []
        if not versions:
            known = ", ".join(self._names()) or "no models"
            raise ModelNotFound(f"model {name!r} is not in {self.root}, which holds {known}")
        if not colon:
            return self._read(name, versions[-1])
        if wanted not in map(str, versions):
            raise ModelNotFound(f"model {name!r} has no version {wanted!r}, only {', '.join(map(str, versions))}")
        return self._read(name, int(wanted))

    def publish(
        self,
        staging: Path,
        *,
        name: str,
        version: int | None = None,
        pixels: PixelSpec,
        training: Mapping[str, Any],
        metrics: Sequence[Metric],
        licence: str,
        git_commit: str,
        any_size: tuple[tuple[int, int], ...] = (),
    ) -> Artefact:
        """Copy `staging` (paddle/, onnx/, report.json, MODEL_CARD.md, ...) in as `name:version`.

        version: None takes the next free number. Raises VersionExists, or InvalidManifest before
        anything is written.
        """
        version = version or max(self._versions(name), default=0) + 1
        manifest = Manifest(
            name=name,
            version=version,
            pixels=pixels,
            files=group_files(staging, skip=[MANIFEST]),
            training=training,
            metrics=tuple(metrics),
            licence=licence,
            git_commit=git_commit,
            any_size=any_size,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        target = self.root / name / str(version)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent):
            for left_over in target.parent.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(left_over, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=target.parent))
            try:
                _fill(work, staging, manifest)
                _rename_new(work, target)
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
        return Artefact.read(target)

    def _read(self, name: str, version: int) -> Artefact:
        artefact = Artefact.read(self.root / name / str(version))
        if artefact.manifest.ref != f"{name}:{version}":
            raise InvalidManifest(
                f"{artefact.path / MANIFEST} describes {artefact.manifest.ref}, not its own folder"
            )
        return artefact

    def _names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if NAME.fullmatch(p.name) and self._versions(p.name))

    def _versions(self, name: str) -> list[int]:
        folder = self.root / name
        if not folder.is_dir():
            return []
        return sorted(
            int(p.name)
            for p in folder.iterdir()
            if p.name.isascii() and p.name.isdigit() and (p / MANIFEST).is_file()
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One publisher at a time. The system releases the lock when the process ends, even if it is killed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fill(work: Path, staging: Path, manifest: Manifest) -> None:
    for entries in manifest.files.values():
        for entry in entries:
            (work / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(staging / entry.path, work / entry.path)
    (work / MANIFEST).write_text(manifest.dump(), encoding="utf-8")
    copied = Artefact.read(work)
    for kind in manifest.files:
        copied.files(kind)  # the copies are the files that were hashed
    work.chmod(0o755)  # mkdtemp's 0700 would hide the model from the service's own user
    for path in [*work.rglob("*"), work]:
        flush_to_disk(path)


def _rename_new(work: Path, target: Path) -> None:
    """`rename` onto a non-empty folder fails, so two publishers of one version cannot both win."""
    try:
        work.rename(target)
    except OSError as exc:
        if target.exists():
            raise VersionExists(f"{target} exists; published versions are immutable, choose another") from exc
        raise
    flush_to_disk(target.parent)
