"""uvicorn with a drain: SIGTERM first turns readiness and new work to 503, and stops when all is answered.

uvicorn alone closes its listening socket at once, so a load balancer that has not noticed yet meets
refused connections; here it meets 503 for a grace, and until the last admitted request is answered.
"""

import asyncio
import errno
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
from functools import partial
from time import monotonic
from types import FrameType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from app.errors import StartupError
from app.server.connection import Connection
from app.serving.registry import ModelRegistry
from app.settings import Settings

SAME_SIGNAL_S = 1.0
log = logging.getLogger("telescope.server")


class DrainingServer(uvicorn.Server):
    """The first SIGTERM or SIGINT drains; a second one ends the process at once."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, settings: Settings) -> None:
        super().__init__(config)
        self._app = app
        self._settings = settings
        self._draining = False
        self._drained_at = 0.0
        self._parent = multiprocessing.parent_process()  # of one of several (`app/processes.py`)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._event_loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            admin = self._settings.admin_port
            docs = f"port {admin}, /docs" if admin else "/docs"
            print(f"Text Telescope listens on {url} (to try it: /, documentation: {docs})", file=sys.stderr)
            if self._parent:
                self._event_loop.add_reader(self._parent.sentinel, self._left_alone)
            if self._settings.api_keys_file:
                self._event_loop.add_signal_handler(signal.SIGHUP, self._app.state.access.reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # super() would note the signal and raise it again at the end: a clean stop would exit with 143.
        if self._parent and self._draining and monotonic() < self._drained_at + SAME_SIGNAL_S:
            return  # sent to all processes, and then again by the one that passes signals on
        if self._draining or not self.started:
            self._end_at_once(128 + sig)
        self._draining, self._drained_at = True, monotonic()
        # Only an orchestrator's signal comes with a load balancer that has to notice.
        grace_s = self._settings.drain_grace_s if sig == signal.SIGTERM else 0
        self._event_loop.call_soon_threadsafe(self._begin_drain, grace_s)

    async def on_tick(self, counter: int) -> bool:
        """uvicorn asks ten times a second whether to go on."""
        if self._parent:  # one of several: no probe would tell of it
            hangs_for_s = self._app.state.models.hangs_for_s
            if hangs_for_s > self._settings.restart_after_s:
                log.critical("a predictor hangs for %.0f s beyond its limit; the process ends", hangs_for_s)
                self._end_at_once(1)
        return await super().on_tick(counter)

    def _left_alone(self) -> None:
        """The process that passes signals on has ended."""
        assert self._parent
        self._event_loop.remove_reader(self._parent.sentinel)
        if not self._draining:
            self.handle_exit(signal.SIGTERM, None)

    def _end_at_once(self, code: int) -> NoReturn:
        """Whatever a thread or a connection is still busy with."""
        logging.shutdown()
        os._exit(code)

    def _begin_drain(self, grace_s: float) -> None:
        self._drain = asyncio.create_task(self._drain_then_exit(grace_s))

    async def _drain_then_exit(self, grace_s: float) -> None:
        models: ModelRegistry = self._app.state.models
        models.begin_drain()
        try:
            async with asyncio.timeout(self._settings.drain_timeout_s):
                await asyncio.gather(models.idle(), asyncio.sleep(grace_s))
        except TimeoutError:
            models.abandon()
        self.should_exit = True


def bind(settings: Settings, *, shared: bool = False) -> list[socket.socket]:
    """Bound sockets that do not listen yet, so that a busy port is known before the model is loaded.

    shared: others may be bound to the same port; the kernel deals its connections out to those that listen.
    Raises StartupError naming the address and what to do.
    """
    bound = [_bind(settings.host, settings.port, "TELESCOPE_PORT or --port", shared=shared)]
    if settings.admin_port:
        bound.append(_bind(settings.host, settings.admin_port, "TELESCOPE_ADMIN_PORT"))
    return bound


def _bind(host: str, port: int, setting: str, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
    except (OSError, ValueError) as exc:  # ValueError: a host with characters that no name has
        bound.close()
        busy = isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE
        remedy = (
            f"stop what uses it, or choose another port with {setting}"
            if busy
            else f"choose another address with TELESCOPE_HOST or --host, or another port with {setting}"
        )
        why = getattr(exc, "strerror", None) or exc
        raise StartupError(f"Cannot listen on {host} port {port} ({why}); {remedy}.") from exc
    return bound


def config(app: FastAPI) -> uvicorn.Config:
    """What every server of this application runs with."""
    settings: Settings = app.state.settings
    return uvicorn.Config(
        app,
        http=partial(Connection, answer_timeout_s=settings.answer_timeout_s),  # type: ignore[arg-type]  # called
        ws="none",
        log_config=None,  # our handlers are set
        access_log=False,  # the middleware writes the one line a request
        server_header=False,
        timeout_graceful_shutdown=5,  # idle keep-alive connections; the drain has waited for the busy ones
    )


def serve(app: FastAPI, settings: Settings, bound: list[socket.socket]) -> None:
    """Run until a signal; returns after the drain."""
    gc.collect()
    gc.freeze()  # what start-up made stays: every collection walking through it took 5 % of a request's time
    DrainingServer(config(app), app, settings).run(sockets=bound)
