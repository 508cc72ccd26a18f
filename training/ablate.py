"""Measures each part of a recipe: runs of equal budgets over one pool of pairs, evaluated on the same words.

    training/configs/ablation.yml: a base configuration, and named changes to it
    -> for each: from the same weights, the same number of steps -> <out>/<name>.safetensors, a row of table.csv

    python -m training ablate -c training/configs/ablation.yml

Finished runs are not repeated: the same command continues after an interruption, and with
`-o 'run.readers=[tesseract]'` it adds the readings of another recogniser.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from training.config import TrainConfig
from training.config_file import config_tree, read_config
from training.data.pool import Makers
from training.engines.torch import set_up
from training.engines.torch_judge import Judge
from training.engines.torch_learner import Learner
from training.engines.torch_pool import Pool
from training.engines.torch_timed import Log, filled_pool, learn, open_makers, open_samples, save
from training.engines.torch_weights import load_telescope
from training.errors import ConfigError
from training.held_out import Figures
from training.ocr import open_readers
from training.stop import INTERRUPTED, StopRequest

FIGURES, TABLE = "figures.json", "table.csv"
PLAIN = "plain"  # the entry of HR and bicubic


@dataclass(frozen=True)
class Plan:
    """The runs of an ablation.

    base: configuration file, relative to the plan's. pool: pairs to make before the first run.
    settings: overrides of every run. runs: name -> further overrides.
    """

    base: Path
    pool: int
    settings: list[str]
    runs: Mapping[str, list[str]]

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan. Raises ConfigError if the file is unreadable or lacks one of the four settings."""
        try:
            tree: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls(path.parent / tree["base"], tree["pool"], tree["settings"], tree["runs"])
        except (OSError, yaml.YAMLError, KeyError, TypeError) as exc:
            raise ConfigError(f"{path} is no plan of base, pool, settings and runs: {exc!r}") from exc


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", type=Path, required=True, help="such as training/configs/ablation.yml")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")


def run(args: argparse.Namespace) -> None:
    """Train the missing runs of the plan, then write the table. Raises TrainingError with one sentence."""
    plan = Plan.read(args.config)
    common = [*plan.settings, *args.override]
    base = read_config(plan.base, TrainConfig, common)
    configs = {name: read_config(plan.base, TrainConfig, [*common, *more]) for name, more in plan.runs.items()}
    if any(config.data.train != base.data.train or config.run.steps is None for config in configs.values()):
        raise ConfigError("the runs of an ablation share data.train, and each has run.steps")
    with closing(Log(base.out)) as log:
        device = set_up(base)
        results = Results(base.out, Judge(base, device, open_readers(base.run.readers)), log)
        missing = {name: config for name, config in configs.items() if not results.path(name).exists()}
        if missing:
            _train(missing, base, device, plan.pool, log, results)
        for name in configs:
            results.judge(name)
        results.write_table([*configs])


def _train(
    configs: Mapping[str, TrainConfig],
    base: TrainConfig,
    device: torch.device,
    pairs: int,
    log: Log,
    results: Results,
) -> None:
    samples = open_samples(base)
    with open_makers(base, samples) as makers, StopRequest() as stop:
        pool = filled_pool(makers, base, device, log, stop, until=math.inf, total=pairs)
        for name, config in configs.items():
            learner = trained(name, config, pool, makers, log, stop, share=samples.other_share)
            if stop.requested:
                raise SystemExit(INTERRUPTED)
            about = {"pairs": learner.steps * config.run.batch_size, "config": config_tree(config)}
            save(results.path(name), learner.average.network, about)
            results.judge(name)


def trained(
    name: str, config: TrainConfig, pool: Pool, makers: Makers, log: Log, stop: StopRequest, *, share: float
) -> Learner:
    """Train one run for `run.steps`, or until a stop is requested."""
    learner = Learner(config, pool, other_share=share)
    log.say(f"{name}: {learner.capture()}")
    begun = log.seconds
    learn(learner, makers, log, stop, until=math.inf)
    pairs = learner.steps * config.run.batch_size
    log.say(f"{name}: {pairs} pairs, {pairs / max(log.seconds - begun, 1e-9):.0f} a second")
    learner.average.copy_statistics(learner.network)
    return learner


class Results:
    """Weights, figures and the table of an ablation, in a folder. Stored readings are not repeated."""

    def __init__(self, out: Path, judge: Judge, log: Log) -> None:
        self._out, self._judge, self._log = out, judge, log
        path = out / FIGURES
        self._known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def path(self, name: str) -> Path:
        """File of a run's weights."""
        return self._out / f"{name}.safetensors"

    def judge(self, name: str) -> None:
        """Complete the figures of a run: each reader reads the SR words of its weights."""
        unread = self._unread(PLAIN)
        if unread:
            self._add(PLAIN, self._judge.plain(unread))
        unread = self._unread(name)
        if unread:
            network = load_telescope(self.path(name)).to(self._judge.device)
            self._add(name, self._judge.figures({"sr": network}, unread))
        self._log.say(f"{name}: " + " ".join(self._row(name, "sr")))

    def _unread(self, name: str) -> list[str]:
        kinds: Mapping[str, Any] = next(iter(self._known.get(name, {}).values()), {})
        read: Mapping[str, float] = next(iter(kinds.values()), {})
        return [reader for reader in self._judge.names if reader not in read]

    def _add(self, name: str, found: Mapping[str, Figures]) -> None:
        known = self._known.setdefault(name, {})
        for preset, kinds in found.items():
            for kind, values in kinds.items():
                known.setdefault(preset, {}).setdefault(kind, {}).update(values)
        (self._out / FIGURES).write_text(json.dumps(self._known, indent=1))

    def write_table(self, names: list[str]) -> None:
        """Write and print table.csv: rows HR, bicubic and each run; per preset, dB and each reader's accuracy."""
        figures = ("dB", *self._judge.names)
        with (self._out / TABLE).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["run", *(f"{words.name} {figure}" for words in self._judge.sets for figure in figures)]
            )
            writer.writerows([kind, *self._row(PLAIN, kind)] for kind in ("hr", "bicubic"))
            writer.writerows([name, *self._row(name, "sr")] for name in names)
        print((self._out / TABLE).read_text(), end="")

    def _row(self, name: str, kind: str) -> list[str]:
        cells = []
        for words in self._judge.sets:
            values = self._known[name][words.name][kind]
            cells += [f"{values['psnr']:.2f}" if "psnr" in values else ""]
            cells += [f"{values[reader]:.4f}" for reader in self._judge.names]
        return cells
