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
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from app.bulk.entries import Failure, Unit
from app.bulk.publish import published, write_whole
from app.errors import StartupError

FOLDER = "_bulk"  # readers of data sets skip names that begin with an underscore
NOT_DONE = "unit_not_done"
ATTEMPTS = 3  # per unit and run: a worker may also be killed for the fault of another process


class UnitRef(NamedTuple):
    """A unit's place in the plan; the driver of a large job holds only these in memory."""

    number: int
    offset: int
    weight: int


@dataclass
class Record:
    """The outcome of a unit. enlarged: names of pictures that skipped the network, by reason."""

    unit: str
    pictures: int = 0
    failed: list[Failure] = field(default_factory=list)
    enlarged: dict[str, list[str]] = field(default_factory=dict)


class Totals(NamedTuple):
    pictures: int  # of all units that are done, including failed pictures
    failed: int


class Ledger:
    def __init__(self, output: Path) -> None:
        self.output = output
        self._folder = output / FOLDER
        self.staging = self._folder / "staging"
        self.parts = self._folder / "parts"
        self.failures = self._folder / "failed.jsonl"

    @contextmanager
    def job(self, parameters: dict[str, Any], units: Iterable[Unit]) -> Iterator[None]:
        """Begin or resume the job, under a lock.

        parameters: must equal the parameters the job was begun with. Raises StartupError if they differ, another
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
            for leftover in (self.staging, self._folder / "begun"):
                shutil.rmtree(leftover, ignore_errors=True)
            for folder in ("staging", "begun", "parts", "done"):
                (self._folder / folder).mkdir(exist_ok=True)
            self._plan(parameters, units)
            yield

    def _plan(self, parameters: dict[str, Any], units: Iterable[Unit]) -> None:
        job = self._folder / "job.json"
        if job.exists():
            earlier = json.loads(job.read_bytes())
            for name in parameters:
                before, now = earlier.get(name), parameters[name]
                if before != now:
                    raise StartupError(
                        f"{self.output} was begun with {name} {before!r}, not {now!r}; go on with that, or choose "
                        "another folder."
                    )
            return
        with published(self._folder / "plan.jsonl", staging=self.staging) as partial, partial.open("w") as plan:
            for unit in units:
                plan.write(json.dumps([unit.weight, unit.name, unit.content]) + "\n")
        write_whole(job, json.dumps(parameters, indent=1).encode() + b"\n", staging=self.staging)

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
        return {int(entry.name.split(".")[0]) for entry in os.scandir(self._folder / "done")}

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
        write_whole(self._done(number), json.dumps(asdict(record)).encode() + b"\n", staging=self.staging)

    def begin(self, number: int) -> int:
        """Note an attempt at the unit -> the number of earlier attempts in this run."""
        with (self._folder / "begun" / str(number)).open("ab") as begun:
            earlier = begun.tell()
            begun.write(b".")
        return earlier

    def list_failures(self, not_done: Iterable[tuple[UnitRef, str]]) -> Totals:
        """Write failed.jsonl: the failures of every record, and the units that are not done with the reason."""
        pictures = failed = 0
        with published(self.failures, staging=self.staging) as partial, partial.open("w") as listed:
            for number in sorted(self.done()):
                record = self.record(number)
                assert record
                pictures += record.pictures
                failed += len(record.failed)
                for failure in record.failed:
                    listed.write(json.dumps({"unit": record.unit, **asdict(failure)}) + "\n")
            for ref, reason in not_done:
                failure = Failure("", NOT_DONE, reason)
                listed.write(json.dumps({"unit": self.unit(ref).name, **asdict(failure)}) + "\n")
        return Totals(pictures, failed)

    def _done(self, number: int) -> Path:
        return self._folder / "done" / f"{number:07d}.json"
