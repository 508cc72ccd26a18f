"""Loads and saves TBSRN checkpoints as Paddle networks; `training.weights_file` defines the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from training.errors import ConfigError, UnreadableCheckpoint
from training.tbsrn import TBSRN
from training.weights_file import Weights, check_keys, read_checkpoint, write_checkpoint


def save_checkpoint(path: Path, network: TBSRN, *, source: Mapping[str, Any]) -> None:
    """Write `network` to `path` atomically; source as in `write_checkpoint`."""
    weights = {name: np.ascontiguousarray(value.numpy()) for name, value in network.state_dict().items()}
    write_checkpoint(path, weights, architecture=network.architecture, source=source)


def load_checkpoint(path: Path) -> TBSRN:
    """The network of a checkpoint, in evaluation mode.

    Raises UnreadableCheckpoint for any other format, KeyMismatch listing keys by name.
    """
    weights, about = read_checkpoint(path)
    try:
        network = TBSRN(**about["architecture"])
    except (ConfigError, TypeError) as exc:
        raise UnreadableCheckpoint(f"{path} describes an impossible network: {exc}") from exc
    set_weights(network, weights, origin=str(path))
    network.eval()
    return network


def set_weights(network: nn.Layer, weights: Weights, *, origin: str) -> None:
    """Set all weights of a Paddle layer. Raises KeyMismatch listing unknown, missing and misshapen keys."""
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    check_keys(weights, expected, origin=origin)
    for name, tensor in network.state_dict().items():
        tensor.set_value(weights[name].astype(np.float32))
