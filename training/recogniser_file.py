"""Loads and saves recognisers as Paddle networks; `training.recogniser_weights` defines the file.

recogniser = load_recogniser(Path("recogniser.safetensors"))     # ours
recogniser = load_recogniser(Path("pretrain_transformer.pth"))   # FudanOCR, the published sizes
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.recogniser import Recogniser, load_recogniser_state
from training.recogniser_weights import read_recogniser, write_recogniser


def save_recogniser(path: Path, recogniser: Recogniser, *, source: Mapping[str, Any]) -> None:
    """Write weights and sizes to `path` (.safetensors); source as in `write_recogniser`."""
    weights = {name: np.ascontiguousarray(value.numpy()) for name, value in recogniser.state_dict().items()}
    write_recogniser(path, weights, config=recogniser.config, source=source)


def load_recogniser(path: Path) -> Recogniser:
    """A pretrained recogniser in evaluation mode, from our file or a published one.

    Raises UnreadableCheckpoint or KeyMismatch naming the file.
    """
    stored = read_recogniser(path)
    recogniser = Recogniser(stored.config)
    load_recogniser_state(recogniser, stored.weights, origin=str(path))
    recogniser.eval()
    return recogniser
