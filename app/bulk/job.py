"""A job: begin it or take it up again, run every unit that is not done, list what failed."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from app.bulk.entries import KindName, Options
from app.bulk.kinds import kind_of, open_kind
from app.bulk.ledger import Ledger, UnitRef
from app.bulk.progress import Progress
from app.bulk.worker import Outcome, Task, Worker
from app.errors import StartupError
from app.serving.model_service import LoadedModel
from app.settings import Settings
from model_store.store import ModelStore

UNIT_SIZE = 1000  # pictures of a folder or LMDB: about a minute on one core, and what a kill costs at most


@dataclass(frozen=True)
class Engine:
    """Who works. workers: actors of Ray Data, 0 for this process; address: of a cluster, None for this machine."""

    workers: int = 0
    address: str | None = None

    def threads(self, wanted: int) -> int:
        """Of each worker's predictor and codec; 0 leaves it to the runtime."""
        if wanted or not self.workers:
            return wanted
        return 1 if self.address else max(1, (os.cpu_count() or 1) // self.workers)


def run(
    source: Path,
    output: Path,
    options: Options,
    settings: Settings,
    *,
    kind: KindName | None = None,
    engine: Engine = Engine(),
    unit_size: int = UNIT_SIZE,
    model: LoadedModel | None = None,
) -> int:
    """How many items failed and units are not done.

    model: for this process; None has every worker load its own.
    Raises StartupError or ModelStoreError before anything is done, or when no worker can start.
    """
    source, output = source.resolve(), output.resolve()
    if output == source or source in output.parents:
        raise StartupError(f"{output} lies in what is read; choose a folder outside {source}.")
    if engine.address and not engine.workers:
        raise StartupError("--address needs --workers: how many actors the cluster is to run.")
    kind = kind or kind_of(source)
    artefact = model.artefact if model else ModelStore(settings.model_store).resolve(settings.model[0])
    settings = settings.model_copy(update={"threads": engine.threads(settings.threads)})
    task = Task(source, output, kind, options, settings, artefact.digest)
    ledger = Ledger(output)
    opened = open_kind(kind, source, ledger, options)
    given = asdict(options)
    asked = {"source": str(source), "kind": kind, "model": artefact.digest, **given.pop("policy"), **given}
    with ledger.job(asked, opened.units(unit_size)):
        not_done = _work(task, ledger, engine, model)
        opened.close()
        totals = ledger.list_failures(not_done)
    answered = totals.pictures - totals.failed
    _say(f"{answered} pictures answered, {totals.failed} failed, {len(not_done)} units not done")
    if totals.failed or not_done:
        _say(f"which and why: {ledger.failures}")
    return totals.failed + len(not_done)


def _work(task: Task, ledger: Ledger, engine: Engine, model: LoadedModel | None) -> list[tuple[UnitRef, str]]:
    """Runs every unit without a record -> those that still have none, and why."""
    refs, done = list(ledger.refs()), ledger.done()
    todo = [ref for ref in refs if ref.number not in done]
    weight = sum(ref.weight for ref in refs)
    progress = Progress(weight=weight, done_weight=weight - sum(ref.weight for ref in todo), say=_say)
    not_done = []
    for outcome in _outcomes(task, todo, engine, model):
        if outcome.fatal:
            raise StartupError(outcome.problem)
        if not outcome.record:
            not_done.append((outcome.ref, outcome.problem))
        progress.add(outcome)
    _say(progress.line())
    return not_done


def _outcomes(task: Task, todo: Sequence[UnitRef], engine: Engine, model: LoadedModel | None) -> Iterator[Outcome]:
    if not todo:
        return iter(())
    if not engine.workers:
        return map(Worker(task, model), todo)
    from app.bulk.on_ray import on_ray

    return on_ray(task, todo, workers=engine.workers, address=engine.address)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
