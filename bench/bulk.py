"""The speed of a bulk job with one worker and with several, and the workers that a larger job needs.

    python -m bench bulk
    python -m bench bulk --workers 1,2,4 --pictures 2000 --json runs/bulk.json

Tar shards of the sample crops go through Ray Data actors on this machine, each with one thread. The rate is
measured from the first finished shard to the last, so it excludes the start of Ray and the loading of the model.
The best round is reported, because other load on the machine slows two workers more than one.
"""

from __future__ import annotations

import argparse
import json
import os
import tarfile
import tempfile
import time
from pathlib import Path

from tqdm import trange

from app.bulk.entries import JobOptions
from app.bulk.kinds import open_kind
from app.bulk.ledger import Ledger
from app.bulk.on_ray import on_ray
from app.bulk.worker import Task
from app.imaging.quality_gate import ALWAYS
from app.settings import Settings, load_settings
from model_store.store import ModelStore

CROPS = Path(__file__).parents[1] / "examples" / "crops"
OPTIONS = JobOptions("png", "native", ALWAYS, None)
SHARD = 24  # pictures; small relative to the job, so that all workers finish at about the same time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", default="1,2", help="comma-separated (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=480, help="pictures in each job (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="the best is reported (default: %(default)s)")
    parser.add_argument("--total", type=float, default=50e6, help="crops to plan for (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=24, help="hours to plan for (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> None:
    """Measure, print, and write the figures to --json if given."""
    counts = [int(workers) for workers in args.workers.split(",")]
    settings = load_settings(threads=1)
    with tempfile.TemporaryDirectory() as folder:
        _write_shards(Path(folder, "in"), args.pictures)
        rates = dict.fromkeys(counts, 0.0)
        for number in trange(args.rounds, unit="round", disable=None):
            for workers in counts:
                output = Path(folder, f"out-{workers}-{number}")
                rates[workers] = max(rates[workers], _rate(output, workers, settings))
    first = counts[0]
    for workers, rate in rates.items():
        print(f"{workers} workers: {rate:.1f} pictures/s, {rate / rates[first]:.2f} times {first}")
    last = counts[-1]
    each = rates[last] / last
    needed = args.total / (each * 3600 * args.hours)
    print(
        f"{args.total:.3g} pictures in {args.hours:g} h: {each * needed:.0f} pictures/s, so {needed:.0f} workers "
        f"at the {each:.2f} pictures/s that each of {last} made here"
    )
    if args.json:
        about = {
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "pictures": args.pictures,
            "rounds": args.rounds,
        }
        args.json.write_text(json.dumps({**about, "pictures_per_s": rates}, indent=1) + "\n")


def _write_shards(folder: Path, pictures: int) -> None:
    folder.mkdir()
    crops = sorted(CROPS.glob("*.png"))
    for first in range(0, pictures, SHARD):
        with tarfile.open(folder / f"{first:06d}.tar", "w") as shard:
            for number in range(first, min(first + SHARD, pictures)):
                shard.add(crops[number % len(crops)], f"{number:06d}.png")


def _rate(output: Path, workers: int, settings: Settings) -> float:
    """Pictures a second over all workers."""
    ledger = Ledger(output)
    digest = ModelStore(settings.model_store).resolve(settings.model[0]).digest
    task = Task(output.parent / "in", ledger.output, "tar", OPTIONS, settings, digest)
    with ledger.job({}, open_kind("tar", task.source, ledger, OPTIONS).units(SHARD)):
        done: list[tuple[float, int]] = []
        for outcome in on_ray(task, list(ledger.refs()), workers=workers, address=None):
            assert outcome.record, outcome.problem
            done.append((time.perf_counter(), outcome.record.pictures))
    return sum(pictures for _, pictures in done[1:]) / (done[-1][0] - done[0][0])
