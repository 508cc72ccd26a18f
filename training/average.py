"""Averages checkpoints of one run and its continuations, which differ mostly by noise.

    python -m training average runs/cpu/last.safetensors runs/cpu-reading/last.safetensors --out mean.safetensors

Wortsman et al., Model soups, ICML 2022. Checkpoints of independent runs lie in different minima, and their average
is useless: evaluate the result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from training.errors import ConfigError
from training.weights_file import check_keys, read_checkpoint, write_checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoints", type=Path, nargs="+", help="our .safetensors, of one architecture")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")


def run(args: argparse.Namespace) -> None:
    """Write the mean of every weight and statistic. Raises TrainingError naming a file that differs."""
    read = [read_checkpoint(path) for path in args.checkpoints]
    weights, about = read[0]
    for path, (others, other) in zip(args.checkpoints[1:], read[1:], strict=True):
        if other["architecture"] != about["architecture"]:
            raise ConfigError(f"{path} is of another architecture than {args.checkpoints[0]}")
        check_keys(others, {name: value.shape for name, value in weights.items()}, origin=str(path))
    means = {name: np.stack([w[name] for w, _ in read]).mean(axis=0, dtype=np.float64) for name in weights}
    write_checkpoint(
        args.out,
        {name: mean.astype(np.float32) for name, mean in means.items()},
        architecture=about["architecture"],
        source={"average_of": [other["source"] for _, other in read]},
    )
    print(f"{args.out}: the average of {len(read)}")
