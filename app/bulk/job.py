"""`text-telescope bulk`: begin or resume a job, run every unit that is not done, list the failures."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from app.bulk.entries import JobOptions, KindName
from app.bulk.kinds import kind_of, open_kind
from app.bulk.ledger import NOT_DONE, Ledger, Totals, UnitRef
from app.bulk.worker import Outcome, Task, Worker
from app.errors import StartupError
from app.imaging.encode import Format
from app.imaging.quality_gate import RoutingPolicy
from app.serving.loading import LoadedModel
from app.settings import Settings, load_settings
from app.telemetry.logs import tell_loading
from model_store.left_out import left_out
from model_store.optional import optional
from model_store.store import ModelStore
from model_store.tiling import Geometry

BAR = "{percentage:.1f} %|{bar}| {desc} [{elapsed}<{remaining}]"
EVERY_S = 10.0  # between lines of progress
LISTED = 10  # units that are not done, in the summary
UNIT_SIZE = 1000  # pictures of a folder or LMDB: about a minute on one core, the most that a kill can lose


@dataclass(frozen=True)
class Engine:
    """workers: actors of Ray Data, 0 for this process alone. address: of a cluster, None for this machine."""

    workers: int = 0
    address: str | None = None

    def threads(self, wanted: int) -> int:
        """Threads of each worker; 0 leaves the number to the runtime."""
        if wanted or not self.workers:
            return wanted
        return 1 if self.address else max(1, (os.cpu_count() or 1) // self.workers)


@dataclass
class Progress:
    """A bar at a terminal, else lines. Share and time left follow from weights, known before a shard is opened."""

    weight: int
    done_weight: int  # begins with the units done in earlier runs
    clock: Callable[[], float] = time.monotonic
    pictures: int = 0  # in this run
    failed: int = 0

    def __post_init__(self) -> None:
        self._before = self.done_weight
        self._started = self._said = self.clock()
        self._seen = 0
        self.bar = tqdm(total=self.weight, initial=self.done_weight, bar_format=BAR, miniters=0, disable=None)
        self.in_lines = self.bar.disable

    def see(self) -> None:
        """Count a picture of the unit that this process works on."""
        self._seen += 1
        self._show(self._seen)

    def add(self, outcome: Outcome) -> None:
        self.done_weight += outcome.ref.weight
        if outcome.record:
            self.pictures += outcome.record.pictures
            self.failed += len(outcome.record.failed)
        self._seen = self.pictures
        self._show(self.pictures, outcome.ref.weight)
        if self.in_lines and self.clock() - self._said >= EVERY_S:
            self._said = self.clock()
            _print(self.line())

    def _show(self, pictures: int, weight: int = 0) -> None:
        self.bar.set_description_str(f"{pictures} pictures, {self.failed} failed", refresh=False)
        self.bar.update(weight)

    def line(self) -> str:
        seconds = max(1e-9, self.clock() - self._started)
        worked, todo = self.done_weight - self._before, self.weight - self.done_weight
        left = timedelta(seconds=round(seconds * todo / worked)) if worked else "?"
        share = f"{100 * self.done_weight / max(1, self.weight):.1f} %"
        pictures = f"{self.pictures} pictures at {self.pictures / seconds:.1f}/s"
        return f"{share}  {pictures}, {self.failed} failed, {left} left"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that are not given stay out of the namespace (argument_default=SUPPRESS)."""
    parser.add_argument("source", type=Path, metavar="INPUT", help="a shard, or a folder of shards or pictures")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="a folder; the same command resumes a job")
    parser.add_argument("--kind", choices=get_args(KindName), help="kind of INPUT, if it holds several")
    parser.add_argument(
        "--images",
        metavar="NAME",
        help="the pictures to read: a Parquet column, a prefix of LMDB keys, or an ending of names in tars",
    )
    parser.add_argument("--format", choices=get_args(Format), default="png", dest="image_format")
    parser.add_argument("--workers", type=int, metavar="N", help="Ray Data actors; default: this process alone")
    parser.add_argument("--address", help="of a running Ray cluster; auto: the cluster of this machine")
    parser.add_argument("--unit-size", type=int, metavar="N", help="pictures per unit of a folder or LMDB")


def bulk(
    geometry: Geometry,
    policy: RoutingPolicy,
    *,
    source: Path,
    output: Path,
    image_format: Format,
    images: str | None = None,
    kind: KindName | None = None,
    unit_size: int = UNIT_SIZE,
    workers: int = 0,
    address: str | None = None,
    **settings: object,
) -> int:
    """Exit code: 0 if every picture succeeded, else 1. Raises as `run` does."""
    options = JobOptions(image_format, geometry, policy, images)
    engine, loaded = Engine(workers, address), load_settings(**settings)
    failed = run(source, output, options, loaded, kind=kind, engine=engine, unit_size=unit_size)
    return 1 if failed else 0


def run(
    source: Path,
    output: Path,
    options: JobOptions,
    settings: Settings,
    *,
    kind: KindName | None = None,
    engine: Engine = Engine(),
    unit_size: int = UNIT_SIZE,
    model: LoadedModel | None = None,
) -> int:
    """The number of failed items and of units that are not done.

    model: for this process; None: every worker loads its own.
    Raises StartupError or ModelStoreError before any work, or if no worker can start.
    """
    if unit_size < 1 or engine.workers < 0:
        raise StartupError("--unit-size must be at least 1, and --workers not negative.")
    source, output = source.resolve(), output.resolve()
    if output == source or source in output.parents:
        raise StartupError(f"{output} lies inside the input; choose a folder outside {source}.")
    if engine.address and not engine.workers:
        raise StartupError("--address needs --workers: how many actors the cluster is to run.")
    kind = kind or kind_of(source)
    artefact = model.artefact if model else ModelStore(settings.model_store).resolve(settings.model[0])
    of_workers = {"threads": engine.threads(settings.threads), "model_store": settings.model_store.resolve()}
    settings = settings.model_copy(update=of_workers)
    task = Task(source, output, kind, options, settings, artefact.digest)
    ledger = Ledger(output)
    opened = open_kind(kind, source, ledger, options)
    given = asdict(options)
    parameters = {"source": str(source), "kind": kind, "model": artefact.digest, **given.pop("policy"), **given}
    with ledger.job(parameters, opened.units(unit_size), opened.left_out):
        not_done = _work(task, ledger, engine, model)
        opened.close()
        totals = ledger.list_failures(not_done)
    for line in _summary(totals, [why for _, why in not_done]):
        _print(line)
    if totals.failed:
        _print(f"the list with reasons: {ledger.failures}")
    return totals.failed.total()


def _summary(totals: Totals, not_done: Sequence[str]) -> Iterator[str]:
    failed = totals.failed.total() - len(not_done)
    yield f"{totals.pictures - failed} pictures done, {failed} failed, {len(not_done)} units not done"
    for code, count in totals.failed.most_common():
        if code != NOT_DONE:
            example = totals.examples[code]
            yield f"  {count} {code}, such as {example.item}: {example.detail}"
    yield from (f"  not done: {why}" for why in not_done[:LISTED])
    if len(not_done) > LISTED:
        yield f"  and {len(not_done) - LISTED} more units"
    if totals.left_out:
        yield left_out(totals.left_out)


def _work(task: Task, ledger: Ledger, engine: Engine, model: LoadedModel | None) -> list[tuple[UnitRef, str]]:
    """Runs every unit without a record -> the units that are still not done, each with the reason."""
    refs, done = list(ledger.refs()), ledger.done()
    todo = [ref for ref in refs if ref.number not in done]
    weight = sum(ref.weight for ref in refs)
    outcomes = _outcomes(task, todo, engine, model, lambda: progress.see())
    progress = Progress(weight=weight, done_weight=weight - sum(ref.weight for ref in todo))  # the model is loaded
    not_done = []
    with progress.bar:
        for outcome in outcomes:
            if outcome.fatal:
                raise StartupError(outcome.problem)
            if not outcome.record:
                not_done.append((outcome.ref, outcome.problem))
            progress.add(outcome)
    if progress.in_lines:
        _print(progress.line())
    return not_done


def _outcomes(
    task: Task, todo: Sequence[UnitRef], engine: Engine, model: LoadedModel | None, see: Callable[[], None]
) -> Iterator[Outcome]:
    if not todo:
        return iter(())
    if not engine.workers:
        tell_loading(task.settings.model[:1])
        return map(Worker(task, model, see).run, todo)
    with optional("--workers", extra="bulk", error=StartupError):
        from app.bulk.on_ray import on_ray
    return on_ray(task, todo, workers=engine.workers, address=engine.address)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
