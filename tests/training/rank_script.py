"""What one of several processes does in test_distributed: gradients, flags and mishaps, into an npz; a command.

    PYTHONPATH=. python -m paddle.distributed.launch --nproc_per_node 2 tests/training/rank_script.py ARGUMENTS

ARGUMENTS: a recogniser, the folder of the npz, and the arguments of `python -m training`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from training.__main__ import main as command_line
from training.config import TrainConfig
from training.config_file import build_config
from training.data.samples import Batch
from training.engines import NonFinite
from training.engines.paddle import PaddleTelescope, Parts, telescope

LABELS = ("Exit4", "BREAD", "tea42", "green")  # of one length: the text losses are means over characters


def settings(recogniser: Path | None, **model: Any) -> TrainConfig:
    sizes = {"height": 8, "width": 32, "blocks": 1, "hidden": 2, "stn": False, "dropout": 0.0}
    tree = {
        "out": "unused",
        "device": "cpu",
        "data": {"rendered": 1, "rendered_validation": 1},
        "model": {**sizes, "batch_norm": "frozen", **model},
        "loss": {"text_focus": recogniser is not None, "recognition_weight": 0.1},
        "recogniser": recogniser and str(recogniser),
    }
    return build_config(tree, TrainConfig, origin="test")


def joined_batch() -> Batch:
    draw = np.random.default_rng(7)
    lr, hr = draw.random((4, 3, 8, 32), np.float32), draw.random((4, 3, 16, 64), np.float32)
    return Batch(LABELS, lr, hr)


def share_of(batch: Batch, rank: int, world: int) -> Batch:
    mine = slice(rank * len(batch.labels) // world, (rank + 1) * len(batch.labels) // world)
    return Batch(batch.labels[mine], batch.lr[mine], batch.hr[mine])


def with_rarely_used_parts(config: TrainConfig) -> PaddleTelescope:
    """A network with one layer that rank 0 alone uses, and one that nobody does."""
    built = telescope(config)
    rarely, never = nn.Linear(2, 1), nn.Linear(2, 1)
    built.network.add_sublayer("rarely", rarely)
    built.network.add_sublayer("never", never)

    def loss(batch: Batch) -> Parts:
        parts = dict(built._loss(batch))
        if built.rank == 0:
            parts["loss"] = parts["loss"] + rarely(paddle.ones([1, 2])).sum()
        return parts

    return PaddleTelescope(built.network, loss, config=config, architecture={}, batch_norm_frozen=True)


def main(recogniser: Path, folder: Path) -> None:
    config = settings(recogniser)
    engine = telescope(config)
    mine = share_of(joined_batch(), engine.rank, engine.world)
    found = {f"gradient/{name}": value for name, value in engine.gradients(mine).items()}
    found["any"] = np.array([engine.any(False), engine.any(engine.rank == 1)])
    poisoned = Batch(mine.labels, np.full_like(mine.lr, np.nan) if engine.rank == 1 else mine.lr, mine.hr)
    before = {name: value.copy() for name, value in engine.state().items()}
    try:
        engine.step(poisoned, step=0, learning_rate=0.1)
    except NonFinite:
        unchanged = all(np.array_equal(before[name], value) for name, value in engine.state().items())
        found["refused"] = np.array(unchanged)
    spare = with_rarely_used_parts(config)
    found |= {f"spare/{name}": value for name, value in spare.gradients(mine).items()}
    for step in range(2):
        spare.step(mine, step=step, learning_rate=0.01)
    found |= {f"learnt/{name}": value.numpy() for name, value in spare.network.state_dict().items()}
    np.savez(folder / f"rank{engine.rank}.npz", allow_pickle=False, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.exit(command_line(sys.argv[3:]))
