"""The state from which a run resumes, in one file that is written atomically.

    last.ckpt: the engine's arrays, and JSON: step, best score, configuration, architecture, git commit

The step determines the next data and random numbers (`data.loader`, `engines.step_seed`), so no generator state is
stored. The file is safetensors: reading it runs no code.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from training.engines import Arrays
from training.errors import RunError, UnreadableCheckpoint

FORMAT = "text-telescope-run"
VERSION = 1
METADATA_KEY = "text_telescope_run"
ROOT = Path(__file__).parents[1]


@dataclass
class RunProgress:
    """The position of a run.

    step: steps done. best: highest score so far, reached after best_step. window, window_steps: sums of the
    values since the last row of metrics.csv, so that a resumed run writes the same row.
    unreadable: number of stored samples that could not be read.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    window: dict[str, float] = field(default_factory=dict)
    window_steps: int = 0
    unreadable: int = 0

    def add(self, values: Mapping[str, float]) -> None:
        """Count one step and its values."""
        for name, value in values.items():
            self.window[name] = self.window.get(name, 0.0) + value
        self.window_steps += 1
        self.step += 1

    def take_means(self) -> dict[str, float]:
        """Means of the values since the last call."""
        means = {name: total / self.window_steps for name, total in self.window.items()}
        self.window, self.window_steps = {}, 0
        return means


@dataclass(frozen=True)
class Identity:
    """Engine, network, configuration and code of a run."""

    engine: str
    architecture: dict[str, Any]
    config: dict[str, Any]
    git_commit: str | None


def save_run(path: Path, arrays: Arrays, *, progress: RunProgress, identity: Identity) -> None:
    """Write `path` atomically, even in a power cut."""
    about = {"format": FORMAT, "version": VERSION, "progress": asdict(progress), **asdict(identity)}
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as stream:
            stream.write(save(arrays, metadata={METADATA_KEY: json.dumps(about)}))
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except OSError as exc:
        raise RunError(f"cannot write {path}: {exc}") from exc


def load_run(path: Path, *, identity: Identity) -> tuple[Arrays, RunProgress, dict[str, Any]]:
    """Arrays, progress and configuration of a stored run.

    Raises RunError if there is none or its engine or architecture differs, UnreadableCheckpoint for another file.
    """
    if not path.is_file():
        raise RunError(f"there is nothing to resume: {path} does not exist; start without --resume")
    try:
        with safe_open(path, framework="numpy") as stream:
            about = json.loads((stream.metadata() or {})[METADATA_KEY])
            arrays = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
        if (about["format"], about["version"]) != (FORMAT, VERSION):
            raise UnreadableCheckpoint(
                f"{path} is {about['format']} version {about['version']}; expected {VERSION}"
            )
        progress = RunProgress(**about["progress"])
        stored = Identity(about["engine"], about["architecture"], about["config"], about["git_commit"])
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as exc:
        raise UnreadableCheckpoint(f"{path} is not the state of a training run: {exc!r}") from exc
    differences = _differences(stored, identity)
    if differences:
        raise RunError(f"{path} is of another run: {differences}; give another out, or the settings it began with")
    return arrays, progress, stored.config


def git_commit(root: Path = ROOT) -> str | None:
    """HEAD of this code's checkout, with "-changed" if tracked files differ; None outside a checkout."""
    try:
        head, status = (
            subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True).stdout
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.strip() + ("-changed" if status.strip() else "")


def _differences(stored: Identity, wanted: Identity) -> str:
    found = [] if stored.engine == wanted.engine else [f"engine was {stored.engine}, now {wanted.engine}"]
    names = stored.architecture.keys() | wanted.architecture.keys()
    for name in sorted(names):
        was, now = stored.architecture.get(name), wanted.architecture.get(name)
        if was != now:
            found.append(f"{name} was {was}, now {now}")
    return ", ".join(found)
