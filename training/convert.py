"""Turns a published TBSRN checkpoint into ours.

    python -m training import-weights sr_telescope.pdparams telescope.safetensors

    file -> published.read_published -> rename, transpose, scale -> TBSRN -> checkpoint.save_checkpoint

The names of `TBSRN` are the published ones, so the mapping is a few rules:
- FudanOCR: `running_mean`, `running_var` are `_mean`, `_variance`; PReLU's `weight` is `_weight`;
  weights of linear layers are transposed, [out, in] to Paddle's [in, out].
- PaddleOCR trains with a dropout that multiplies by 1 - p = 0.9 in evaluation, in the attention maps
  and in the feed-forward; the factor goes into the weights that follow, not into their biases.
- What neither inference nor training of the published code uses is dropped and counted.
The recogniser's arrays in a PaddleOCR checkpoint are left for `training.recogniser`.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from training.checkpoint import Weights, load_checkpoint, save_checkpoint, set_weights
from training.published import Layout, Published, read_published
from training.tbsrn import TBSRN

# Stored by the published code and used by none of it: the GRUs of TSRN, an unused compression, and
# FudanOCR's unused stem; then what follows from the size (TPS) and PyTorch's batch counters.
DEAD = re.compile(
    r"block\d+\.gru[12]\.|.*\.compress_attention_linear\.|(conv|bn)\.[^.]+$|tps\.|.*\.num_batches_tracked$"
)
PADDLEOCR_KEEP = 0.9  # 1 - p of its dropout
SCALED_BY_DROPOUT = ("multihead.linears.3.weight", "pff.w_2.weight")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="PaddleOCR .pdparams, FudanOCR .pth, or .safetensors")
    parser.add_argument("out", type=Path, help="the checkpoint to write, .safetensors")


def run(args: argparse.Namespace) -> None:
    """Import one checkpoint and print what came in, what was dropped and what was left."""
    published = read_published(args.source)
    network, dropped = import_telescope(published)
    save_checkpoint(args.out, network, source=source_record(published))
    stored = load_checkpoint(args.out).state_dict()
    parameters = sum(value.size for value in stored.values())
    print(f"{args.out}: {len(stored)} arrays, {parameters:,} numbers, from {args.source} ({published.layout})")
    print(f"dropped {dropped} arrays that the network never uses")
    if published.recogniser:
        print(f"left {len(published.recogniser)} arrays of the recogniser, which is a network of its own")


def import_telescope(published: Published) -> tuple[TBSRN, int]:
    """The super-resolution network of a published checkpoint, and how many dead arrays were dropped.

    Raises KeyMismatch listing unknown, missing and misshapen keys by name.
    """
    weights = published.telescope
    live = {name: value for name, value in weights.items() if not DEAD.match(name)}
    network = TBSRN(**infer_architecture(live))
    ours = rename(live, network, layout=published.layout)
    if published.layout == "paddleocr":
        ours = {
            name: value * np.float32(PADDLEOCR_KEEP) if name.endswith(SCALED_BY_DROPOUT) else value
            for name, value in ours.items()
        }
    set_weights(network, ours, origin=str(published.path))
    network.eval()
    return network, len(weights) - len(live)


def rename(weights: Weights, network: nn.Layer, *, layout: Layout) -> Weights:
    """Published names and orientations to those of `network`, which has the published structure.

    Serves any of our layers, the recogniser included. Names that match no rule pass unchanged.
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


def infer_architecture(weights: Weights) -> dict[str, Any]:
    """Arguments of `TBSRN` that the keys imply; the size is 16x64, which the published codes fix."""
    residual = [int(m[1]) for name in weights if (m := re.match(r"block(\d+)\.conv1\.", name))]
    blocks = max(residual, default=6) - 1
    doublings = sum(bool(re.match(rf"block{blocks + 3}\.\d+\.conv\.weight", name)) for name in weights)
    first = weights.get("block1.0.weight")
    return {
        "blocks": blocks,
        "hidden": 32 if first is None else len(first) // 2,
        "scale": 2 ** max(doublings, 1),
        "stn": any(name.startswith("stn_head.") for name in weights),
    }


def source_record(published: Published) -> dict[str, str]:
    """What a checkpoint says of the file it came from."""
    return {"file": published.path.name, "sha256": published.sha256, "layout": published.layout}
