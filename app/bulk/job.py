"""A job: begin or resume it, run every unit that is not done, list the failures."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from app.bulk.entries import JobOptions, KindName
from app.bulk.kinds import kind_of, open_kind
from app.bulk.ledger import Ledger, UnitRef
from app.bulk.progress import Progress
from app.bulk.worker import Outcome, Task, Worker
from app.errors import StartupError
from app.serving.loading import LoadedModel
from app.settings import Settings
from model_store.store import ModelStore

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
    source, output = source.resolve(), output.resolve()
    if output == source or source in output.parents:
        raise StartupError(f"{output} lies inside the input; choose a folder outside {source}.")
    if engine.address and not engine.workers:
        raise StartupError("--address needs --workers: how many actors the cluster is to run.")
    kind = kind or kind_of(source)
    artefact = model.artefact if model else ModelStore(settings.model_store).resolve(settings.model[0])
    settings = settings.model_copy(update={"threads": engine.threads(settings.threads)})
    task = Task(source, output, kind, options, settings, artefact.digest)
    ledger = Ledger(output)
    opened = open_kind(kind, source, ledger, options)
    given = asdict(options)
    parameters = {"source": str(source), "kind": kind, "model": artefact.digest, **given.pop("policy"), **given}
    with ledger.job(parameters, opened.units(unit_size)):
        not_done = _work(task, ledger, engine, model)
        opened.close()
        totals = ledger.list_failures(not_done)
    done = totals.pictures - totals.failed
    _print(f"{done} pictures done, {totals.failed} failed, {len(not_done)} units not done")
    if totals.failed or not_done:
        _print(f"the list with reasons: {ledger.failures}")
    return totals.failed + len(not_done)


def _work(task: Task, ledger: Ledger, engine: Engine, model: LoadedModel | None) -> list[tuple[UnitRef, str]]:
    """Runs every unit without a record -> the units that are still not done, each with the reason."""
    refs, done = list(ledger.refs()), ledger.done()
    todo = [ref for ref in refs if ref.number not in done]
    weight = sum(ref.weight for ref in refs)
    progress = Progress(weight=weight, done_weight=weight - sum(ref.weight for ref in todo), say=_print)
    not_done = []
    for outcome in _outcomes(task, todo, engine, model):
        if outcome.fatal:
            raise StartupError(outcome.problem)
        if not outcome.record:
            not_done.append((outcome.ref, outcome.problem))
        progress.add(outcome)
    _print(progress.line())
    return not_done


def _outcomes(task: Task, todo: Sequence[UnitRef], engine: Engine, model: LoadedModel | None) -> Iterator[Outcome]:
    if not todo:
        return iter(())
    if not engine.workers:
        return map(Worker(task, model), todo)
    from app.bulk.on_ray import on_ray

    return on_ray(task, todo, workers=engine.workers, address=engine.address)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
