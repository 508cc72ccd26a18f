"""What each part of a recipe is worth: runs of equal budgets over one pool of pairs, judged on the same words.

    training/configs/ablation.yml: a base configuration, and changes to it by name
    -> for each: from the same weights, the same number of steps -> <out>/<name>.safetensors, a row of table.csv

A run that is there already is not repeated: the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from training.config import TrainConfig
from training.config_file import read_config
from training.errors import ConfigError

if TYPE_CHECKING:
    from training.engines.torch_timed import Judge, Log

FIGURES, TABLE = "figures.json", "table.csv"


@dataclass(frozen=True)
class Plan:
    """base: a file beside this one. pool: pairs to wait for before the first run. settings: laid over it for every run. runs: name -> further settings."""

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
    parser.add_argument("-c", "--config", type=Path, required=True, help="training/configs/ablation.yml")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")


def run(args: argparse.Namespace) -> None:
    """Every run of the plan that is not there yet. Raises TrainingError with one sentence."""
    plan = Plan.read(args.config)
    common = [*plan.settings, *args.override]
    base = read_config(plan.base, TrainConfig, common)
    configs = {name: read_config(plan.base, TrainConfig, [*common, *more]) for name, more in plan.runs.items()}
    if any(config.data.train != base.data.train or config.run.steps is None for config in configs.values()):
        raise ConfigError("the runs of an ablation share data.train, and each has run.steps")
    from training.engines.torch_timed import Judge, Log, device_of, filled_pool, open_makers, open_samples

    log, device, samples = Log(base.out), device_of(base, tuned=False), open_samples(base)
    with open_makers(base, samples) as makers:
        judge = Judge(samples, base.loss.readers, device, limit=base.data.validation_limit)
        pool = filled_pool(makers, base, device, log, until=float("inf"), total=plan.pool)
        for name, config in configs.items():
            if not _file(base.out, name).exists():
                _one(name, config, base.out, log, judge, makers, pool, samples.other_share)
    _table(base.out, [*configs], judge)


def _one(
    name: str, config: TrainConfig, out: Path, log: Log, judge: Judge, makers: Any, pool: Any, share: float
) -> None:  # noqa: ANN401, E501
    from training.engines.torch_timed import Learner, learn, save
    from training.stop import INTERRUPTED, StopRequest

    learner = Learner(config, pool, other_share=share)
    log.say(f"{name}: {learner.capture()}")
    begun = log.seconds
    with StopRequest() as stop:
        learn(learner, makers, log, stop, until=float("inf"))
    if stop.requested:
        raise SystemExit(INTERRUPTED)
    seconds = log.seconds - begun
    learner.average.copy_statistics(learner.network)
    network = learner.average.network
    found = judge.figures({"sr": network})
    about = {"steps": learner.steps, "pairs": learner.steps * config.run.batch_size, "seconds": round(seconds)}
    log.say(f"{name}: {_line(found, judge.names)}, {about['pairs'] / max(seconds, 1e-9):.0f} pairs a second")
    known = _known(out)
    (out / FIGURES).write_text(json.dumps(known | {name: {"about": about, "figures": found}}, indent=1))
    save(_file(out, name), network, about)  # last: it says that the run is done


def _line(found: Mapping[str, Any], readers: list[str]) -> str:
    return "; ".join(
        f"{preset} {kinds['sr']['psnr']:.2f} dB "
        + " ".join(f"{100 * kinds['sr'][reader]:.1f}" for reader in readers)
        for preset, kinds in found.items()
    )


def _table(out: Path, names: list[str], judge: Judge) -> None:
    known = _known(out)
    presets = [words.name for words in judge.sets]
    with (out / TABLE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", *(f"{p} {what}" for p in presets for what in ("dB", *judge.names))])
        first = next(iter(known.values()))["figures"]
        for kind in ("hr", "bicubic"):
            writer.writerow([kind, *_row(first, kind, presets, judge.names)])
        for name in names:
            writer.writerow([name, *_row(known[name]["figures"], "sr", presets, judge.names)])
    print((out / TABLE).read_text())


def _row(found: Mapping[str, Any], kind: str, presets: list[str], readers: list[str]) -> list[str]:
    cells = []
    for preset in presets:
        values = found[preset][kind]
        cells += [f"{values['psnr']:.2f}" if "psnr" in values else "", *(f"{values[r]:.4f}" for r in readers)]
    return cells


def _known(out: Path) -> dict[str, Any]:
    path = out / FIGURES
    return json.loads(path.read_text()) if path.exists() else {}


def _file(out: Path, name: str) -> Path:
    return out / f"{name}.safetensors"
