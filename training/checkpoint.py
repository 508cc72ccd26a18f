"""Our checkpoint as a Paddle network, and back; the file itself is `training.weights_file`'s."""

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
    """Write `network` to `path`, whole or not at all; source as in `write_checkpoint`."""
    weights = {name: np.ascontiguousarray(value.numpy()) for name, value in network.state_dict().items()}
    write_checkpoint(path, weights, architecture=network.architecture, source=source)


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


def set_weights(network: nn.Layer, weights: Weights, *, origin: str) -> None:
    """Give a Paddle layer exactly its weights. Raises KeyMismatch, listing every kind by name."""
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    check_keys(weights, expected, origin=origin)
    for name, tensor in network.state_dict().items():
        tensor.set_value(weights[name].astype(np.float32))
