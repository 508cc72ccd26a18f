"""A recogniser on disk: our safetensors file, which knows its sizes, or a published one.

recogniser = load_recogniser(Path("recogniser.safetensors"))     # ours
recogniser = load_recogniser(Path("pretrain_transformer.pth"))   # FudanOCR, the published sizes
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from training.checkpoint import METADATA_KEY, read_safetensors
from training.errors import ConfigError, UnreadableCheckpoint
from training.published import read_published
from training.recogniser import Recogniser, RecogniserConfig, load_recogniser_state

FORMAT = "text-telescope-recogniser"
VERSION = 1


def save_recogniser(path: Path, recogniser: Recogniser, *, source: Mapping[str, Any]) -> None:
    """Write weights and sizes to `path` (.safetensors), whole or not at all; equal arguments, equal bytes.

    source: JSON-serialisable record of where the weights come from.
    """
    weights = {name: np.ascontiguousarray(value.numpy()) for name, value in recogniser.state_dict().items()}
    about = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": asdict(recogniser.config),
        "source": dict(source),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(save(weights, metadata={METADATA_KEY: json.dumps(about, sort_keys=True)}))
    unfinished.replace(path)


def load_recogniser(path: Path) -> Recogniser:
    """A pretrained recogniser in evaluation mode, from our file or a published one.

    Published files (.pdparams, .pth, or .safetensors with their keys) have the published sizes; a
    .pdparams gets PaddleOCR's dropout, whose evaluation multiplies by 0.9. Raises UnreadableCheckpoint or
    KeyMismatch naming the file.
    """
    if path.suffix == ".safetensors":
        weights, metadata = read_safetensors(path)
        if METADATA_KEY in metadata:
            recogniser = Recogniser(_config(path, metadata[METADATA_KEY]))
            load_recogniser_state(recogniser, weights, origin=str(path))
            recogniser.eval()
            return recogniser
    published = read_published(path)
    paddleocr = published.layout == "paddleocr"
    config = RecogniserConfig(dropout_mode="downscale_in_infer" if paddleocr else "upscale_in_train")
    recogniser = Recogniser(config)
    load_recogniser_state(recogniser, published.recogniser or published.weights, origin=str(path))
    recogniser.eval()
    return recogniser


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
