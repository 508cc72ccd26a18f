"""A worker runs one unit after the other with its own warmed model, in this process or as an actor."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.bulk.entries import EntryResult, JobOptions, KindName
from app.bulk.in_process import BulkPipeline, InProcess
from app.bulk.kinds import UnreadableUnit, open_kind
from app.bulk.ledger import ATTEMPTS, Ledger, Record, UnitRef
from app.errors import ServiceError, StartupError
from app.serving.loading import LoadedModel, load_model
from app.settings import Settings
from model_store.errors import ModelStoreError

log = logging.getLogger("telescope.bulk")


@dataclass(frozen=True)
class Task:
    """The job as a worker needs it; the paths must be valid on every machine."""

    source: Path
    output: Path
    kind: KindName
    options: JobOptions
    settings: Settings
    digest: str  # of the model


@dataclass(frozen=True)
class Outcome:
    """record: None if the unit is not done, for the reason in `problem`. fatal: no unit can be done."""

    ref: UnitRef
    record: Record | None
    problem: str = ""
    fatal: bool = False


class Worker:
    def __init__(
        self, task: Task, model: LoadedModel | None = None, on_picture: Callable[[], object] = lambda: None
    ) -> None:
        """model: None loads one. on_picture: called after each picture, for a progress bar.

        Never raises: Ray would restart a failing actor without end.
        """
        self._on_picture = on_picture
        self._ledger = Ledger(task.output)
        self._cannot_start = ""
        try:
            self._kind = open_kind(task.kind, task.source, self._ledger, task.options)
            self._pipeline = _pipeline(task, model or load_model(task.settings))
        except (ServiceError, ModelStoreError) as exc:
            self._cannot_start = str(exc)

    def run(self, ref: UnitRef) -> Outcome:
        if self._cannot_start:
            return Outcome(ref, None, self._cannot_start, fatal=True)
        if done := self._ledger.record(ref.number):  # by a worker that was killed before it could report it
            return Outcome(ref, done)
        if self._ledger.begin(ref.number) >= ATTEMPTS:
            return Outcome(ref, None, f"Its worker died {ATTEMPTS} times; look at its memory and its input.")
        try:
            return Outcome(ref, self._record(ref))
        except (UnreadableUnit, StartupError) as exc:
            return Outcome(ref, None, str(exc))
        except Exception as exc:  # a full disk must not stop the other units
            log.exception("unit %d", ref.number)
            return Outcome(ref, None, f"{type(exc).__name__}: {exc}")

    def _record(self, ref: UnitRef) -> Record:
        unit = self._ledger.unit(ref)
        record = Record(unit.name)
        self._kind.write(ref.number, unit, self._added(record, self._pipeline(self._kind.read(unit))))
        self._ledger.finish(ref.number, record)
        return record

    def _added(self, record: Record, results: Iterable[EntryResult]) -> Iterator[EntryResult]:
        for result in results:
            yield record.add(result)
            if result.entry.is_picture:
                self._on_picture()


def _pipeline(task: Task, model: LoadedModel) -> BulkPipeline:
    settings, options = task.settings, task.options
    if model.artefact.digest != task.digest:
        raise StartupError(
            f"{settings.model[0]} of {settings.model_store} has the digest {model.artefact.digest[:12]} here, and "
            f"{task.digest[:12]} where the job was started; every machine must see the same model store."
        )
    in_process = InProcess(model.predictor, model.pipeline, geometry=options.geometry, policy=options.policy)
    return BulkPipeline(in_process, image_format=options.format, settings=settings)
