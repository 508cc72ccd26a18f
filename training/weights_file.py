"""Weight files of TBSRN and the recogniser without a framework: arrays and their description.

    path -> read_checkpoint -> arrays, {architecture, source}          write_checkpoint
    path -> read_safetensors -> arrays, metadata of any such file

A weight file is safetensors. Its arrays have Paddle's names, and linear weights are [in, out]. The metadata entry
`text_telescope` holds JSON: format, version, the arguments of the network, and the origin of the weights. It is a
single entry because safetensors writes several in random order, and equal checkpoints should have equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from training.errors import CheckpointError, KeyMismatch, UnreadableCheckpoint

FORMAT = "text-telescope-checkpoint"
VERSION = 1
METADATA_KEY = "text_telescope"
LISTED_KEYS = 20  # per kind of mismatch; a wrong file can have hundreds

Weights = dict[str, np.ndarray]


def write_checkpoint(
    path: Path, weights: Weights, *, architecture: Mapping[str, Any], source: Mapping[str, Any]
) -> None:
    """Write a TBSRN to `path` atomically; equal arguments give equal bytes.

    architecture: the arguments of TBSRN. source: JSON-serialisable record of the weights' origin (file and
    sha256, or the run).
    """
    about = {"format": FORMAT, "version": VERSION, "architecture": dict(architecture), "source": dict(source)}
    write_described(path, weights, about)


def write_described(path: Path, weights: Weights, about: Mapping[str, Any]) -> None:
    """Write arrays and their description as safetensors, atomically. Raises CheckpointError on failure."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(save(weights, metadata={METADATA_KEY: json.dumps(about, sort_keys=True)}))
        unfinished.replace(path)
    except OSError as exc:
        raise CheckpointError(f"cannot write {path}: {exc}") from exc


def read_checkpoint(path: Path) -> tuple[Weights, dict[str, Any]]:
    """Weights and description (format, version, architecture, source) of one of our checkpoints.

    Raises UnreadableCheckpoint for any other file.
    """
    weights, metadata = read_safetensors(path)
    try:
        about: dict[str, Any] = json.loads(metadata[METADATA_KEY])
        found = about["format"], about["version"], about["architecture"].keys(), about["source"].keys()
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as exc:
        raise UnreadableCheckpoint(
            f"{path} is not a Text Telescope checkpoint; published weights are converted by "
            f"`python -m training import-weights {path} OUT.safetensors`"
        ) from exc
    if found[:2] != (FORMAT, VERSION):
        raise UnreadableCheckpoint(
            f"{path} is {found[0]} version {found[1]}; this reads {FORMAT} version {VERSION}"
        )
    return weights, about


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """Arrays and metadata of any safetensors file; UnreadableCheckpoint if it is not one."""
    try:
        with safe_open(path, framework="numpy") as stream:
            return {key: stream.get_tensor(key) for key in stream.keys()}, dict(stream.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as exc:
        raise UnreadableCheckpoint(f"{path} cannot be read as safetensors: {exc}") from exc


def check_keys(weights: Weights, expected: Mapping[str, tuple[int, ...]], *, origin: str) -> None:
    """Raises KeyMismatch listing unknown, missing and misshapen keys, if there are any."""
    misshapen = [
        f"{name} {weights[name].shape}, should be {shape}"
        for name, shape in expected.items()
        if name in weights and weights[name].shape != shape
    ]
    problems = {
        "unknown": sorted(weights.keys() - expected.keys()),
        "missing": sorted(expected.keys() - weights.keys()),
        "misshapen": sorted(misshapen),
    }
    if any(problems.values()):
        listed = "; ".join(f"{len(keys)} {kind}: {_listed(keys)}" for kind, keys in problems.items() if keys)
        raise KeyMismatch(f"{origin} does not fit the network: {listed}")


def _listed(keys: list[str]) -> str:
    more = len(keys) - LISTED_KEYS
    return ", ".join(keys[:LISTED_KEYS]) + (f" and {more} more" if more > 0 else "")
