"""Training for a fixed time, `run.seconds`: made for some minutes of a GPU.

    makers: uint8 pairs -> pool on the device -> step, a CUDA graph for each reader and kind of batch -> averaged
    weights -> evaluated on the device by words read

A step never waits for the device: drawing, clipping and averaging run there, and figures are summed there and
fetched every ten seconds. Steps that cannot be captured as graphs run without them. Pairs repeat, in no fixed
order, so a run cannot be resumed; the next one can start from its weights (`model.init`).

    python -m training train -c training/configs/ten-minutes.yml
"""

from __future__ import annotations

import copy
import csv
import json
import math
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model_store.manifest import PixelSpec
from training.config import OptimiserConfig, TrainConfig
from training.config_file import config_tree
from training.data.pool import Makers, kind_shares
from training.data.samples import Samples, training_samples
from training.engines.torch import set_up
from training.engines.torch_judge import Judge
from training.engines.torch_learner import Learner
from training.engines.torch_net import TBSRN
from training.engines.torch_pool import Pool
from training.engines.torch_weights import save_telescope
from training.errors import ConfigError, RunError
from training.held_out import Figures, score
from training.stop import INTERRUPTED, StopRequest

AHEAD = 8  # steps queued for the GPU; more would only delay the end
POOL_SHARE = 0.2  # of the time, at most, to fill the pool
FIRST = 4  # batches of each kind in the pool before the first step
RAREST = 0.01  # least share of a kind of pairs, as makers collect 64 of a kind
JUDGING_SHARE = 0.07  # of the time, for the evaluation at the end
SAVES = 5  # times during a run
AVERAGE, LAST = "average.safetensors", "last.safetensors"


class Log:
    """Lines to the screen and log.txt, rows to metrics.csv, each with the seconds since the start."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        self._lines = (out / "log.txt").open("w", buffering=1)
        self._csv = (out / "metrics.csv").open("w", newline="", buffering=1)
        self._rows: csv.DictWriter[str] | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        line = f"[{self.seconds:6.1f} s] {text}"
        print(line, flush=True)
        self._lines.write(line + "\n")

    def row(self, values: Mapping[str, object]) -> None:
        if self._rows is None:
            self._rows = csv.DictWriter(self._csv, list(values))
            self._rows.writeheader()
        self._rows.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in values.items()})

    def close(self) -> None:
        self._lines.close()
        self._csv.close()


def train(config: TrainConfig) -> None:
    """Train for `run.seconds` in all, and write weights, figures and a sheet to `config.out`.

    Raises RunError if it holds a run already.
    """
    if (config.out / AVERAGE).exists():
        raise RunError(f"{config.out} holds a run already; give another out=DIR")
    with closing(Log(config.out)) as log:
        _train(config, log)


def _train(config: TrainConfig, log: Log) -> None:
    device, samples = set_up(config), open_samples(config)
    seconds = config.run.seconds
    assert seconds is not None, "only a run with run.seconds comes here"
    judge = Judge(config, device)
    with StopRequest() as stop, open_makers(config, samples) as makers:
        log.say(f"{config.data.workers} processes make pairs of {len(samples)} samples; device {device}")
        pool = filled_pool(makers, config, device, log, stop, until=seconds * POOL_SHARE)
        learner = Learner(config, pool, other_share=samples.other_share)
        start = copy.deepcopy(learner.average.network)
        log.say("seconds per batch, each part alone: " + _listed(learner.parts(), "{:.4f}"))
        log.say(learner.capture())
        learn(learner, makers, log, stop, until=seconds * (1 - JUDGING_SHARE))
    learner.average.copy_statistics(learner.network)
    _finish(learner, judge, log, start=start, made=makers.made)


def _finish(learner: Learner, judge: Judge, log: Log, *, start: nn.Module, made: int) -> None:
    """Save the weights, and evaluate the averaged ones against the `start`. made: number of pairs."""
    config, steps = learner.config, learner.steps
    about = {
        "steps": steps,
        "pairs": steps * config.run.batch_size,
        "made": made,
        "seconds": round(log.seconds),
        "config": config_tree(config),
    }
    for name, network in ((LAST, learner.network), (AVERAGE, learner.average.network)):
        save(config.out / name, network, about)
    networks = {"start": start, "sr": learner.average.network}
    plain, enlarged = judge.plain(judge.names), judge.figures(networks, judge.names)
    found = {preset: {**plain[preset], **enlarged[preset]} for preset in plain}
    report(log, found, judge.names)
    (config.out / "evaluation.json").write_text(json.dumps({"about": about, "figures": found}, indent=1))
    judge.sheet(networks).save(config.out / "sheet.png")
    log.say(f"{config.out / AVERAGE}: {steps} steps, {about['pairs']} pairs")


def filled_pool(
    makers: Makers,
    config: TrainConfig,
    device: torch.device,
    log: Log,
    stop: StopRequest,
    *,
    until: float,
    total: int = 0,
) -> Pool:
    """A pool with enough pairs of every kind to begin, and `total` pairs in all if the time allows.

    Exits if a stop is requested, as there is nothing to save yet.
    """
    pool = Pool(makers.layouts, size=config.data.pool, device=device)
    need = FIRST * config.run.batch_size
    while makers.made < total or any(pool.held(kind) < min(need, config.data.pool) for kind in makers.layouts):
        found = makers.take(wait=1)
        if stop.requested:
            raise SystemExit(INTERRUPTED)
        if found is not None:
            pool.add(*found)
        if log.seconds > until and all(pool.held(kind) for kind in makers.layouts):
            break
    log.say(f"the pool holds {len(pool)} pairs, {makers.made / log.seconds:.0f} a second since the start")
    return pool


def learn(learner: Learner, makers: Makers, log: Log, stop: StopRequest, *, until: float) -> None:
    """Train until the log has run for `until` seconds, or for `run.steps`."""
    config, begin = learner.config, log.seconds
    shown, seen, save_at, events = begin, 0, begin + until / SAVES, []
    every = 10.0 if learner.device.type == "cuda" else 15.0
    steps = config.run.steps
    while log.seconds < until and not stop.requested and (steps is None or learner.steps < steps):
        by_time = (log.seconds - begin) / (until - begin)
        through = min(1.0, by_time if steps is None else learner.steps / steps)
        learner.step(_learning_rate(config.optimiser, learner.steps, through))
        for _ in range(AHEAD):
            found = makers.take()
            if found is None:
                break
            learner.pool.add(*found)
        if learner.device.type == "cuda":
            events.append(torch.cuda.Event())
            events[-1].record()
            if len(events) > AHEAD:
                events.pop(0).synchronize()
        if log.seconds - shown > every:
            _show(learner, makers, log, steps=learner.steps - seen, seconds=log.seconds - shown, through=through)
            shown, seen = log.seconds, learner.steps
        if log.seconds > save_at and steps is None:
            save_at += until / SAVES
            learner.average.copy_statistics(learner.network)
            save(config.out / AVERAGE, learner.average.network, {"steps": learner.steps})
    if learner.steps > seen:
        _show(learner, makers, log, steps=learner.steps - seen, seconds=log.seconds - shown, through=through)


def _learning_rate(config: OptimiserConfig, step: int, through: float) -> float:
    """Cosine from `through` = 0 to 1, after a linear warm-up."""
    cosine = config.final_share + (1 - config.final_share) * 0.5 * (1 + math.cos(math.pi * through))
    return config.learning_rate * cosine * min(1.0, (step + 1) / (config.warmup_steps + 1))


def _show(learner: Learner, makers: Makers, log: Log, *, steps: int, seconds: float, through: float) -> None:
    """Write a row of metrics.csv about the last `steps` steps."""
    batch = learner.config.run.batch_size
    values = learner.figures()
    row = {
        "seconds": log.seconds,
        "step": learner.steps,
        "pairs": learner.steps * batch,
        **values,
        "trained_per_s": steps * batch / seconds,
        "made_per_s": makers.made / log.seconds,
        "through": through,
    }
    log.row(row)
    log.say(_listed(row, "{:.5g}"))


def report(log: Log, found: Mapping[str, Figures], readers: list[str]) -> None:
    for preset, kinds in found.items():
        for kind, values in kinds.items():
            log.say(f"{preset:7} {kind:8} " + _listed(values, "{:.4g}"))
    for kind in next(iter(found.values())):
        log.say(f"words read, all presets and readers: {kind} {score(list(found.values()), kind, readers):.4f}")


def save(path: Path, network: nn.Module, about: Mapping[str, Any]) -> None:
    assert isinstance(network, TBSRN)
    save_telescope(path, network, source=about)


def open_samples(config: TrainConfig) -> Samples:
    model = config.model
    return training_samples(config.data, PixelSpec(model.height, model.width, model.scale), seed=config.seed)


def open_makers(config: TrainConfig, samples: Samples) -> Makers:
    if config.loss.text_focus or not config.data.workers or config.optimiser.clip != "global" or config.model.stn:
        raise ConfigError(
            "run.seconds needs loss.text_focus=false, model.stn=false, optimiser.clip=global, data.workers above 0"
        )
    kind, share = min(kind_shares(samples).items(), key=lambda item: item[1])
    if share < RAREST:
        name = f"{'placed' if kind.placed else 'stretched'} pairs of {'Latin' if kind.latin else 'other'} scripts"
        raise ConfigError(
            f"by data.window_share, data.scripts and data.rendered the share of {name} is {share:.4f}, too small "
            f"to fill a pool in time; make it at least {RAREST}, or 0"
        )
    return Makers(samples, workers=config.data.workers, seed=config.seed)


def _listed(values: Mapping[str, float], form: str) -> str:
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
