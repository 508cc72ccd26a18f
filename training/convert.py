"""Converts a published TBSRN checkpoint into ours.

    python -m training import-weights sr_telescope.pdparams telescope.safetensors

    file -> published.read_published -> rename, transpose, scale -> TBSRN -> checkpoint.save_checkpoint

The names of `TBSRN` are the published ones, so the mapping is a few rules:
- FudanOCR: `running_mean`, `running_var` are `_mean`, `_variance`; PReLU's `weight` is `_weight`;
  weights of linear layers are transposed, [out, in] to Paddle's [in, out].
- PaddleOCR trains with a dropout that multiplies by 1 - p = 0.9 in evaluation, in the attention maps
  and in the feed-forward; the factor goes into the weights that follow, not into their biases.
- Arrays that the published code never uses are dropped and counted.
The recogniser's arrays in a PaddleOCR checkpoint are not converted; `training.recogniser` reads them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from training.checkpoint import load_checkpoint, save_checkpoint, set_weights
from training.published import Layout, Published, infer_architecture, read_published
from training.tbsrn import TBSRN
from training.weights_file import LISTED_KEYS, Weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="PaddleOCR .pdparams, FudanOCR .pth, or .safetensors")
    parser.add_argument("out", type=Path, help="the checkpoint to write, .safetensors")


def run(args: argparse.Namespace) -> None:
    """Convert one checkpoint and print the numbers of arrays imported, dropped and left."""
    published = read_published(args.source)
    network, dropped = import_telescope(published)
    save_checkpoint(args.out, network, source=source_record(published))
    stored = load_checkpoint(args.out).state_dict()
    parameters = sum(value.size for value in stored.values())
    print(f"{args.out}: {len(stored)} arrays, {parameters:,} numbers, from {args.source} ({published.layout})")
    print(f"dropped {dropped} arrays that the network never uses")
    if published.beside:
        print(f"left {', '.join(published.beside[:LISTED_KEYS])}, which are no arrays of the network")
    if published.recogniser:
        print(f"left {len(published.recogniser)} arrays of the recogniser, which is a network of its own")


def import_telescope(published: Published) -> tuple[TBSRN, int]:
    """The super-resolution network of a published checkpoint, and the number of unused arrays dropped.

    Raises KeyMismatch listing unknown, missing and misshapen keys by name.
    """
    live = published.live_telescope
    network = TBSRN(**infer_architecture(live))
    ours = rename(live, network, layout=published.layout)
    set_weights(network, ours, origin=str(published.path))
    network.eval()
    return network, len(published.telescope) - len(live)


def rename(weights: Weights, network: nn.Layer, *, layout: Layout) -> Weights:
    """Weights under the names and orientations of `network`, a layer with the published structure.

    It works for TBSRN and the recogniser. Names that match no rule stay unchanged.
    """
    if layout == "paddleocr":
        return dict(weights)
    layers = dict(network.named_sublayers())
    return dict(_from_torch(name, value, layers) for name, value in weights.items())


def _from_torch(name: str, value: np.ndarray, layers: dict[str, Any]) -> tuple[str, np.ndarray]:
    path, _, last = name.rpartition(".")
    layer = layers.get(path)
    if isinstance(layer, nn.PReLU) and last == "weight":
        return f"{path}._weight", value
    if isinstance(layer, nn.Linear) and last == "weight":
        return name, value.T
    renamed = {"running_mean": "_mean", "running_var": "_variance"}.get(last, last)
    return f"{path}.{renamed}" if path else renamed, value


def source_record(published: Published) -> dict[str, str]:
    """The origin record of a converted checkpoint."""
    return {"file": published.path.name, "sha256": published.sha256, "layout": published.layout}
