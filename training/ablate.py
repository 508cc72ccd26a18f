"""What each part of a recipe is worth: runs of equal budgets over one pool of pairs, judged on the same words.

    training/configs/ablation.yml: a base configuration, and changes to it by name
    -> for each: from the same weights, the same number of steps -> <out>/<name>.safetensors, a row of table.csv

    python -m training ablate -c training/configs/ablation.yml

A run that is there already is not repeated: the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from training.config import TrainConfig
from training.config_file import read_config
from training.data.pool import Makers
from training.engines.torch_timed import (
    Judge,
    Learner,
    Log,
    Pool,
    device_of,
    filled_pool,
    learn,
    open_makers,
    open_samples,
    save,
)
from training.errors import ConfigError
from training.stop import INTERRUPTED, StopRequest

FIGURES, TABLE = "figures.json", "table.csv"


@dataclass(frozen=True)
class Plan:
    """base: a file beside this one. settings: laid over it for every run. runs: name -> further settings.

    pool: pairs that must be there before the first run.
    """

    base: Path
    pool: int
    settings: list[str]
    runs: Mapping[str, list[str]]

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Raises ConfigError if the file is none, or lacks one of the four."""
        try:
            tree: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls(path.parent / tree["base"], tree["pool"], tree["settings"], tree["runs"])
        except (OSError, yaml.YAMLError, KeyError, TypeError) as exc:
            raise ConfigError(f"{path} is no plan of base, pool, settings and runs: {exc!r}") from exc


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", type=Path, required=True, help="such as training/configs/ablation.yml")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")


def run(args: argparse.Namespace) -> None:
    """Every run of the plan that is not there yet. Raises TrainingError with one sentence."""
    plan = Plan.read(args.config)
    common = [*plan.settings, *args.override]
    base = read_config(plan.base, TrainConfig, common)
    configs = {name: read_config(plan.base, TrainConfig, [*common, *more]) for name, more in plan.runs.items()}
    if any(config.data.train != base.data.train or config.run.steps is None for config in configs.values()):
        raise ConfigError("the runs of an ablation share data.train, and each has run.steps")
    log, device, samples = Log(base.out), device_of(base, tuned=False), open_samples(base)
    with open_makers(base, samples) as makers, StopRequest() as stop:
        judge = Judge(samples, base.loss.readers, device, limit=base.data.validation_limit)
        results = Results(base.out, judge, log)
        pool = filled_pool(makers, base, device, log, until=math.inf, total=plan.pool)
        for name, config in configs.items():
            if name in results:
                continue
            results.add(name, trained(name, config, pool, makers, log, stop, share=samples.other_share))
            if stop.requested:
                raise SystemExit(INTERRUPTED)
    results.write_table([*configs])


def trained(
    name: str, config: TrainConfig, pool: Pool, makers: Makers, log: Log, stop: StopRequest, *, share: float
) -> Learner:
    """A learner after `run.steps`, or fewer if a stop was requested."""
    learner = Learner(config, pool, other_share=share)
    log.say(f"{name}: {learner.capture()}")
    begun = log.seconds
    learn(learner, makers, log, stop, until=math.inf)
    pairs = learner.steps * config.run.batch_size
    log.say(f"{name}: {pairs} pairs, {pairs / max(log.seconds - begun, 1e-9):.0f} a second")
    learner.average.copy_statistics(learner.network)
    return learner


class Results:
    """Weights, figures and the table in a folder."""

    def __init__(self, out: Path, judge: Judge, log: Log) -> None:
        self._out, self._judge, self._log = out, judge, log
        path = out / FIGURES
        self._known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def __contains__(self, name: str) -> bool:
        return self._file(name).exists()

    def add(self, name: str, learner: Learner) -> None:
        """Judge the averaged weights of a run that came to its end, and keep both."""
        if learner.steps != learner.config.run.steps:
            return
        network, about = learner.average.network, {"pairs": learner.steps * learner.config.run.batch_size}
        found = self._judge.figures({"sr": network})
        self._known[name] = {"about": about, "figures": found}
        (self._out / FIGURES).write_text(json.dumps(self._known, indent=1))
        save(self._file(name), network, about)  # last: it says that the run is done
        self._log.say(f"{name}: " + " ".join(self._row(found, "sr")))

    def write_table(self, names: list[str]) -> None:
        """table.csv: HR, bicubic and each run; dB, then the share that each reader reads, by preset."""
        figures = ("dB", *self._judge.names)
        with (self._out / TABLE).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["run", *(f"{words.name} {figure}" for words in self._judge.sets for figure in figures)]
            )
            plain = self._known[names[0]]["figures"]
            writer.writerows([kind, *self._row(plain, kind)] for kind in ("hr", "bicubic"))
            writer.writerows([name, *self._row(self._known[name]["figures"], "sr")] for name in names)
        print((self._out / TABLE).read_text(), end="")

    def _row(self, found: Mapping[str, Any], kind: str) -> list[str]:
        cells = []
        for words in self._judge.sets:
            values = found[words.name][kind]
            cells += [f"{values['psnr']:.2f}" if "psnr" in values else ""]
            cells += [f"{values[reader]:.4f}" for reader in self._judge.names]
        return cells

    def _file(self, name: str) -> Path:
        return self._out / f"{name}.safetensors"
