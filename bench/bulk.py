"""The speed of a bulk job with one worker and with two, and the workers that a larger job needs.

Tar shards of the sample crops go through actors of Ray Data, a thread each. The rate leaves out the start of Ray
and the first shard of each worker. The best round counts: other load slows two workers more than one.
"""

import argparse
import tarfile
from itertools import cycle, product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from tqdm import tqdm

from app.bulk.entries import JobOptions
from app.bulk.kinds import open_kind
from app.bulk.ledger import Ledger
from app.bulk.on_ray import on_ray
from app.bulk.worker import Task
from app.imaging.quality_gate import ALWAYS
from app.settings import Settings, load_settings
from bench.harness.options import MODEL, Options, Value
from bench.harness.quotes import ROOT
from bench.harness.report import Report, Table
from bench.limit import precisions
from model_store.store import ModelStore

OPTIONS: Options = {**MODEL, "limit": Value(480, quick=72), "rounds": Value(2, quick=1)}
JOB = JobOptions("png", "native", ALWAYS, None)
SHARD = 24  # pictures; small relative to the job, so that all workers finish at about the same time
NEEDED = 50e6 / 24 / 3600  # pictures a second of a larger job: 50 million in 24 hours


def measure(args: argparse.Namespace) -> Report:
    precision = precisions()[-1]
    where = {"model": args.model, "model_store": args.model_store, "runtime": "openvino"}
    settings = load_settings(**where, threads=1, precision=precision)
    rates = {1: 0.0, 2: 0.0}  # by workers
    with TemporaryDirectory() as folder:
        write_shards(Path(folder, "in"), args.limit)
        for number, workers in tqdm([*product(range(args.rounds), rates)], unit="job", disable=None):
            rates[workers] = max(rates[workers], rate(Path(folder, f"{workers}-{number}"), workers, settings))
    rows = [(str(workers), f"{found:.1f}", f"{found / rates[1]:.2f}") for workers, found in rates.items()]
    facts = {"needed": f"{NEEDED:.0f} pictures/s", "needed_workers": f"{2 * NEEDED / rates[2]:.0f} workers"}
    table = Table(f"Rate in {precision}", ("workers", "pictures/s", "times one worker"), rows)
    return Report({"pictures_per_s": rates}, {"workers": table}, facts)


def write_shards(folder: Path, pictures: int) -> None:
    folder.mkdir()
    crops = cycle(sorted((ROOT / "examples" / "crops").glob("*.png")))
    for first in range(0, pictures, SHARD):
        with tarfile.open(folder / f"{first:06d}.tar", "w") as shard:
            for number in range(first, first + SHARD):
                shard.add(next(crops), f"{number:06d}.png")


def rate(output: Path, workers: int, settings: Settings) -> float:
    """Pictures a second over all workers."""
    model = ModelStore(settings.model_store).resolve(settings.model[0])
    task = Task(output.parent / "in", output, "tar", JOB, settings, model.digest)
    ledger, ended = Ledger(output), []
    with ledger.job({}, open_kind("tar", task.source, ledger, JOB).units(SHARD)):
        for outcome in on_ray(task, list(ledger.refs()), workers=workers, address=None):
            assert outcome.record, outcome.problem
            ended.append(perf_counter())
    if len(ended) <= workers:
        raise SystemExit(f"--limit: {workers} workers need more than {workers * SHARD} pictures, {SHARD} a shard.")
    return SHARD * (len(ended) - workers) / (ended[-1] - ended[workers - 1])
