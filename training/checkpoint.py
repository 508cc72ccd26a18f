"""Our checkpoint: one safetensors file that says what it is.

The weights stand under the names of `TBSRN.state_dict()`. One metadata entry, `text_telescope`,
holds JSON: format, version, the arguments of `TBSRN`, and where the weights come from. It is a
single entry because safetensors writes several in random order, and equal checkpoints shall have
equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from training.errors import ConfigError, KeyMismatch, UnreadableCheckpoint
from training.tbsrn import TBSRN

FORMAT = "text-telescope-checkpoint"
VERSION = 1
METADATA_KEY = "text_telescope"
LISTED_KEYS = 20  # of each kind of mismatch; a wrong file can have hundreds

Weights = dict[str, np.ndarray]


def save_checkpoint(path: Path, network: TBSRN, *, source: Mapping[str, Any]) -> None:
    """Write `network` to `path`, whole or not at all; equal arguments give equal bytes.

    source: JSON-serialisable record of where the weights come from (file and sha256, or the run).
    """
    weights = {name: np.ascontiguousarray(value.numpy()) for name, value in network.state_dict().items()}
    about = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": network.architecture,
        "source": dict(source),
    }
    write_described(path, weights, about)


def write_described(path: Path, weights: Weights, about: Mapping[str, Any]) -> None:
    """Write arrays and their description as safetensors, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(save(weights, metadata={METADATA_KEY: json.dumps(about, sort_keys=True)}))
    unfinished.replace(path)


def load_checkpoint(path: Path) -> TBSRN:
    """The network of a checkpoint, in evaluation mode.

    Raises UnreadableCheckpoint for anything but our format, KeyMismatch listing keys by name.
    """
    weights, about = read_checkpoint(path)
    try:
        network = TBSRN(**about["architecture"])
    except (ConfigError, TypeError) as exc:
        raise UnreadableCheckpoint(f"{path} describes an impossible network: {exc}") from exc
    set_weights(network, weights, origin=str(path))
    network.eval()
    return network


def read_checkpoint(path: Path) -> tuple[Weights, dict[str, Any]]:
    """Weights and the description (format, version, architecture, source) of one of our checkpoints."""
    weights, metadata = read_safetensors(path)
    try:
        about: dict[str, Any] = json.loads(metadata[METADATA_KEY])
        found = about["format"], about["version"], about["architecture"].keys(), about["source"].keys()
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as exc:
        raise UnreadableCheckpoint(
            f"{path} is not a Text Telescope checkpoint; published weights come in by "
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


def set_weights(network: nn.Layer, weights: Weights, *, origin: str) -> None:
    """Give a Paddle layer exactly its weights. Raises KeyMismatch, listing every kind by name."""
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
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
    for name, tensor in network.state_dict().items():
        tensor.set_value(weights[name].astype(np.float32))


def _listed(keys: list[str]) -> str:
    more = len(keys) - LISTED_KEYS
    return ", ".join(keys[:LISTED_KEYS]) + (f" and {more} more" if more > 0 else "")
