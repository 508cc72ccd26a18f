"""Several processes behind one port, each a whole service: predictor, limits and metrics of its own.

    run -> binds PORT once for each -> processes -> each: models, event loop, ADMIN_PORT + its number

One event loop answers about a thousand small crops a second, a GPU infers more. The kernel deals new connections
out to the processes (SO_REUSEPORT). Signals go on to all of them. One that ends unasked ends the others after a
drain, so whoever started the service starts it again, as with one process. The end of `run` ends them, too.
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from types import FrameType

from app.errors import StartupError
from app.server.draining import bind
from app.settings import Settings
from app.telemetry.logs import configure_logging
from model_store.errors import ModelStoreError

Serve = Callable[[Settings, list[socket.socket]], None]
log = logging.getLogger("telescope.processes")


def serve_here(settings: Settings, bound: list[socket.socket]) -> None:
    """One process: load the models and answer until a signal. Raises StartupError or ModelStoreError."""
    from app.main import create_app, load_models
    from app.server.draining import serve

    configure_logging(settings.log_level)
    serve(create_app(settings, load_models(settings)), settings, bound)


def run(settings: Settings, serve: Serve = serve_here) -> int:
    """Several processes, until a signal or the end of one; returns the exit code.

    serve: what each runs, importable there. Raises StartupError for addresses that cannot be listened on.
    """
    configure_logging(settings.log_level)
    each = _bound(settings)
    processes: list[BaseProcess] = []
    asked = False

    def pass_on(sig: int, frame: FrameType | None = None) -> None:
        nonlocal asked
        asked = asked or sig != signal.SIGHUP
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, sig)

    for sig in (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if settings.api_keys_file else [])):
        signal.signal(sig, pass_on)
    try:
        for one, sockets in each:
            process: BaseProcess = get_context("spawn").Process(target=_serve, args=(serve, one, sockets))
            process.start()
            processes.append(process)
            for bound in sockets:
                bound.close()  # the process's own is left: no connections are dealt out to one that has ended
    except BaseException:
        pass_on(signal.SIGTERM)
        raise
    if asked:  # while they were started
        pass_on(signal.SIGTERM)
    ended = connection.wait([process.sentinel for process in processes])
    by_itself = not asked
    if by_itself:
        log.error("a process ended by itself; the others end, too")
        pass_on(signal.SIGTERM)
    for process in processes:
        process.join()
    telling = [process for process in processes if process.sentinel in ended or not by_itself]
    return max(map(_exit_code, telling)) or int(by_itself)


def _bound(settings: Settings) -> list[tuple[Settings, list[socket.socket]]]:
    """What each process is to have."""
    alone = bind(settings)  # a port that another service listens on is found busy only without SO_REUSEPORT
    port = alone[0].getsockname()[1]
    for bound in alone:
        bound.close()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = settings.threads or max(1, cores // settings.processes)
    each = [
        settings.model_copy(update={"port": port, "admin_port": settings.admin_port + number, "threads": threads})
        for number in range(settings.processes)
    ]
    return [(one, bind(one, shared=True)) for one in each]


def _serve(serve: Serve, settings: Settings, bound: list[socket.socket]) -> None:
    """In the new process."""
    os.setsid()  # a terminal's ^C goes to `run` alone, which passes it on once
    try:
        serve(settings, bound)
    except (StartupError, ModelStoreError) as exc:
        print(f"text-telescope: {exc}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _exit_code(process: BaseProcess) -> int:
    """A process that a signal ended has a negative one."""
    code = process.exitcode or 0
    return code if code >= 0 else 128 - code
