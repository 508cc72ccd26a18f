"""Units over actors of Ray Data, on this machine or a cluster.

Ray Data schedules the units, restarts actors that die and reschedules their units. It does not write output: its
own writers keep no order within a shard and cannot resume a job.
"""

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import ray
import ray.data

from app.bulk.ledger import UnitRef
from app.bulk.worker import Outcome, Task, Worker
from app.errors import StartupError
from app.inference.runtimes import ON_GPU, auto_order

STARTS = 3  # Ray waits half a minute for its own processes; a busy machine may need longer
STORE_BYTES = 128 << 20  # of Ray's object store on this machine; only numbers and records pass through it
OUR_FOLDER = Path(__file__).parents[2]  # that holds `app`
QUIET: dict[str, Any] = {"logging_level": "warning", "log_to_driver": False}


def on_ray(task: Task, refs: Sequence[UnitRef], *, workers: int, address: str | None) -> Iterator[Outcome]:
    """The outcome of each unit, in order of completion. address: of a running cluster; None starts one here.

    Raises StartupError if the cluster does not respond, or the device must be named.
    """
    settings = task.settings
    if settings.device == "auto" and settings.runtime != "openvino" and auto_order("auto")[0][0] in ON_GPU:
        raise StartupError("--workers needs --device gpu:0, for a GPU for each worker, or --device cpu.")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
    cpus = max(1, settings.threads)  # of each worker
    with chdir(OUR_FOLDER):  # workers import from this process's folder first, which may hold another `app`
        if address:
            _connect(address)
        else:
            _start(cpus * workers)
    ray.data.DataContext.get_current().enable_progress_bars = False  # our own line counts pictures
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    rows = ray.data.from_items([ref._asdict() for ref in refs], override_num_blocks=len(refs))
    outcomes = rows.map_batches(
        _Actor,
        fn_constructor_args=(task,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
        num_cpus=cpus,
        num_gpus=1 if settings.device.startswith("gpu") else 0,
    )
    try:
        for row in outcomes.iter_rows():
            yield row["outcome"]
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    host, colon, port = address.rpartition(":")
    try:
        if colon and port.isdigit():  # fail at once if no server listens; Ray itself would retry for ten minutes
            socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=10).close()
        ray.init(address=address, **QUIET)
    except (OSError, RuntimeError, ValueError) as exc:
        raise StartupError(f"No Ray cluster answers at {address}: {exc}") from exc


def _start(cpus: int) -> None:
    """cpus: of all workers; Ray's CPUs only count actors, so they may be more than the machine has."""
    own: dict[str, Any] = {"num_cpus": max(cpus, os.cpu_count() or 1), "object_store_memory": STORE_BYTES}
    for left in reversed(range(STARTS)):
        try:
            ray.init(address="local", include_dashboard=False, **own, **QUIET)  # else Ray joins any cluster here
            return
        except Exception as exc:  # Ray also raises bare exceptions here
            ray.shutdown()
            if not left:
                raise StartupError(f"Ray does not start on this machine: {exc}") from exc


class _Actor(Worker):
    """Adapts a worker to Ray Data, which passes columns of one row."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Outcome]]:
        ref = UnitRef(*(int(batch[name][0]) for name in UnitRef._fields))
        return {"outcome": [self.run(ref)]}
