"""Reads and writes the recogniser's weight files without a framework: ours, which store sizes, or published ones.

    path -> read_recogniser -> StoredRecogniser(config, weights, layout)          write_recogniser

Names of layers are ours, which are PaddleOCR's. The layout decides the orientation of linear weights and the names
of batch statistics; each engine converts these to its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.architecture import RecogniserConfig
from training.errors import ConfigError, UnreadableCheckpoint
from training.published import DEAD, Layout, read_published
from training.weights_file import METADATA_KEY, Weights, read_safetensors, write_described

FORMAT = "text-telescope-recogniser"
VERSION = 1

# A whole PaddleOCR checkpoint also holds the super-resolution network: only arrays with the prefix are read.
_PREFIXES = ("transform.transformer.", "transformer.", "module.")
_RENAMED = re.compile(r"^(embedding_word|generator_word)\.")  # FudanOCR's names


@dataclass(frozen=True)
class StoredRecogniser:
    """weights: by our names. layout: "paddleocr" stores arrays as Paddle does, "fudanocr" as PyTorch does."""

    config: RecogniserConfig
    weights: Weights
    layout: Layout


def write_recogniser(path: Path, weights: Weights, *, config: RecogniserConfig, source: Mapping[str, Any]) -> None:
    """Write sizes and weights, in Paddle's layout, to `path` (.safetensors) atomically.

    source: JSON-serialisable record of the weights' origin. Equal arguments give equal bytes.
    """
    about = {"format": FORMAT, "version": VERSION, "architecture": asdict(config), "source": dict(source)}
    write_described(path, weights, about)


def read_recogniser(path: Path) -> StoredRecogniser:
    """A pretrained recogniser, from our file or a published one.

    Published files (.pdparams, .pth, or .safetensors with their keys) get the published sizes, and PaddleOCR's
    layout its dropout, which multiplies by 0.9 in evaluation. Raises UnreadableCheckpoint naming the file.
    """
    if path.suffix == ".safetensors":
        weights, metadata = read_safetensors(path)
        if METADATA_KEY in metadata:
            return StoredRecogniser(_config(path, metadata[METADATA_KEY]), weights, "paddleocr")
    published = read_published(path)
    paddleocr = published.layout == "paddleocr"
    config = RecogniserConfig(dropout_mode="downscale_in_infer" if paddleocr else "upscale_in_train")
    weights, layout = named_as_ours(published.recogniser or published.weights)
    return StoredRecogniser(config, weights, layout)


def named_as_ours(weights: Mapping[str, np.ndarray]) -> tuple[Weights, Layout]:
    """Rename arrays with FudanOCR's, PaddleOCR's or our names to ours, and drop unused ones.

    FudanOCR: `module.embedding_word...`. PaddleOCR: `transform.transformer.embedding_word_with_upperword...`,
    also within its whole checkpoint.
    """
    prefix = next((p for p in _PREFIXES if any(name.startswith(p) for name in weights)), "")
    kept = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    ours = {
        _RENAMED.sub(r"\1_with_upperword.", name): value
        for name, value in kept.items()
        if not DEAD.match(name) and name != "pe.pe"  # the sine table follows from the width
    }
    return ours, "fudanocr" if any(name.endswith(".running_mean") for name in ours) else "paddleocr"


def _config(path: Path, metadata: str) -> RecogniserConfig:
    try:
        about = json.loads(metadata)
        found = (about["format"], about["version"])
        if found != (FORMAT, VERSION):
            raise UnreadableCheckpoint(f"{path} is {found[0]} version {found[1]}, not {FORMAT} version {VERSION}")
        sizes: dict[str, Any] = about["architecture"]
        # JSON has no tuples
        listed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()}
        return RecogniserConfig(**listed)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, ConfigError) as exc:
        raise UnreadableCheckpoint(f"{path} does not describe a recogniser: {exc}") from exc
