"""The state of a job, in the folder `_bulk` of its output; a restart reads nothing else.

job.json           the parameters of the job; written after plan.jsonl, so if it exists, the plan is complete
plan.jsonl         one unit per line; a worker reads its own by the offset
done/<number>.json the record of a unit, written after the unit's output
begun/<number>     one byte per attempt, so that a unit that kills its workers is given up
failed.jsonl       every failed item, written at the end
staging/, parts/   unfinished files
"""

import fcntl
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from app.bulk.entries import EntryResult, Failure, Unit
from app.errors import StartupError
from model_store.durable import flush_to_disk

RECORDS = "_bulk"  # readers of data sets skip names that begin with an underscore
NOT_DONE = "unit_not_done"  # the code of a unit in the list of failures
LEFT_OUT = "files left out"  # in job.json
ATTEMPTS = 3  # per unit and run: a worker may also be killed for the fault of another process


class UnitRef(NamedTuple):
    """A unit's place in the plan; the driver of a large job holds only these in memory."""

    number: int
    offset: int
    weight: int


@dataclass
class Record:
    """The outcome of a unit.

    enlarged: names of pictures that skipped the network, by reason. left_out: numbers of files, by kind.
    """

    unit: str
    pictures: int = 0
    failed: list[Failure] = field(default_factory=list)
    enlarged: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, result: EntryResult) -> EntryResult:
        self.pictures += result.entry.is_picture
        if kind := result.entry.left_out:
            self.left_out[kind] = self.left_out.get(kind, 0) + 1
        if result.failure:
            self.failed.append(result.failure)
        elif result.decision and not result.decision.infers:
            self.enlarged.setdefault(result.decision.reason, []).append(result.entry.name)
        return result


@dataclass
class Totals:
    """Over all records. pictures: the failed ones too. failed: by code. left_out: files by kind."""

    pictures: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Failure] = field(default_factory=dict)  # the first failure of each code
    left_out: Counter[str] = field(default_factory=Counter)


class Ledger:
    def __init__(self, output: Path) -> None:
        self.output = output
        self._folder = output / RECORDS
        self.parts = self._folder / "parts"
        self.failures = self._folder / "failed.jsonl"
        self._job = self._folder / "job.json"

    @contextmanager
    def job(
        self, parameters: dict[str, Any], units: Iterable[Unit], left_out: Counter[str] | None = None
    ) -> Iterator[None]:
        """Begin or resume the job, under a lock.

        parameters: must equal the parameters the job was begun with. left_out: files that are in no unit, by kind;
        complete when all units are planned. Raises StartupError if they differ, another
        process holds the lock, or the folder holds other files.
        """
        if self.output.exists() and not self._folder.exists() and any(self.output.iterdir()):
            raise StartupError(f"{self.output} holds something else already; choose another folder.")
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise StartupError(f"Another job is writing to {self.output}; wait until it has ended.") from exc
            for leftover in ("staging", "begun"):
                shutil.rmtree(self._folder / leftover, ignore_errors=True)
            for folder in ("staging", "begun", "parts", "done"):
                (self._folder / folder).mkdir(exist_ok=True)
            self._plan(parameters, units, Counter() if left_out is None else left_out)
            yield

    def _plan(self, parameters: dict[str, Any], units: Iterable[Unit], left_out: Counter[str]) -> None:
        if self._job.exists():
            earlier = json.loads(self._job.read_bytes())
            for name, now in parameters.items():
                if (before := earlier.get(name)) != now:
                    raise StartupError(
                        f"{self.output} was begun with {name} {before!r}, not {now!r}; go on with that, or choose "
                        "another folder."
                    )
            return
        with self.published(self._folder / "plan.jsonl") as partial, partial.open("w") as plan:
            for unit in units:
                plan.write(json.dumps([unit.weight, unit.name, unit.content]) + "\n")
        with self.published(self._job) as partial:
            partial.write_text(json.dumps({**parameters, LEFT_OUT: left_out}, indent=1) + "\n")

    @contextmanager
    def published(self, target: Path, *, flush: bool = True) -> Iterator[Path]:
        """A temporary path to write to; at the end it is renamed to the target.

        So a file appears whole or not at all, even after a kill or, if flushed, a power cut. flush: False if the
        caller flushes many files at once.
        """
        partial = self._folder / "staging" / f"{uuid4().hex}.partial"
        try:
            yield partial
            if flush:
                flush_to_disk(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)
            if flush:
                flush_to_disk(target.parent)
        finally:
            with suppress(OSError):
                partial.unlink()

    def refs(self) -> Iterator[UnitRef]:
        offset = 0
        with (self._folder / "plan.jsonl").open("rb") as plan:
            for number, line in enumerate(plan):
                yield UnitRef(number, offset, int(line[1 : line.index(b",")]))
                offset += len(line)

    def unit(self, ref: UnitRef) -> Unit:
        with (self._folder / "plan.jsonl").open("rb") as plan:
            plan.seek(ref.offset)
            weight, name, content = json.loads(plan.readline())
        return Unit(name, weight, tuple(content))

    def done(self) -> set[int]:
        return {int(path.stem) for path in (self._folder / "done").iterdir()}

    def record(self, number: int) -> Record | None:
        """None if the unit is not done."""
        try:
            kept = json.loads(self._done(number).read_bytes())
        except FileNotFoundError:
            return None
        kept["failed"] = [Failure(**failure) for failure in kept["failed"]]
        return Record(**kept)

    def finish(self, number: int, record: Record) -> None:
        """Mark the unit as done. Call it after the unit's output is complete."""
        with self.published(self._done(number)) as partial:
            partial.write_text(json.dumps(asdict(record)) + "\n")

    def begin(self, number: int) -> int:
        """Note an attempt at the unit -> the number of earlier attempts in this run."""
        with (self._folder / "begun" / str(number)).open("ab") as begun:
            earlier = begun.tell()
            begun.write(b".")
        return earlier

    def list_failures(self, not_done: Iterable[tuple[UnitRef, str]]) -> Totals:
        """Write failed.jsonl: the failures of every record, and the units that are not done with the reason."""
        done = (record for number in sorted(self.done()) if (record := self.record(number)))
        undone = (Record(self.unit(ref).name, failed=[Failure("", NOT_DONE, why)]) for ref, why in not_done)
        totals = Totals(left_out=Counter(json.loads(self._job.read_bytes()).get(LEFT_OUT, {})))
        with self.published(self.failures) as partial, partial.open("w") as lines:
            for record in chain(done, undone):
                totals.pictures += record.pictures
                totals.left_out.update(record.left_out)
                for failure in record.failed:
                    totals.failed[failure.code] += 1
                    totals.examples.setdefault(failure.code, failure)
                    lines.write(json.dumps({"unit": record.unit, **asdict(failure)}) + "\n")
        return totals

    def _done(self, number: int) -> Path:
        return self._folder / "done" / f"{number:07d}.json"
