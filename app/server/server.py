"""uvicorn with a drain: SIGTERM turns readiness and new requests to 503, and the process ends once it is idle.

    bind -> load models -> create_app -> serve -> SIGTERM -> 503 for new requests, admitted ones finish -> exit 0

uvicorn alone closes its listening socket at once, so a load balancer that has not noticed the shutdown yet meets
refused connections. Here it meets 503, for at least `drain_grace_s` and until every admitted request is done.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.server.connection import Connection
from app.serving.registry import ModelRegistry
from app.settings import Settings

log = logging.getLogger("telescope.server")
log.setLevel(logging.INFO)  # the address is logged also with TELESCOPE_LOG_LEVEL=warning


class DrainingServer(uvicorn.Server):
    """The first SIGTERM or SIGINT starts the drain; a second one ends the process at once."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(uvicorn_config(app))
        self._app = app
        self._settings: Settings = app.state.settings
        self._draining = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._event_loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._log_address()
            if self._settings.api_keys_file and sys.platform != "win32":  # which has no SIGHUP
                self._event_loop.add_signal_handler(signal.SIGHUP, self._app.state.authentication.reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Does not call uvicorn's own handler, which raises the signal again at the end: exit code 143, not 0."""
        if self._draining or not self.started:
            os._exit(128 + sig)  # even if a thread, a connection or a log line is unfinished
        self._draining = True
        # Only an orchestrator's SIGTERM comes with a load balancer that has to notice.
        grace_s = self._settings.drain_grace_s if sig == signal.SIGTERM else 0
        self._event_loop.call_soon_threadsafe(self._begin_drain, grace_s)

    def _log_address(self) -> None:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        admin = self._settings.admin_port
        docs = f"port {admin}, /docs" if admin else "/docs"
        log.info(f"Text Telescope listens on {url} (to try it: /, documentation: {docs})")

    def _begin_drain(self, grace_s: float) -> None:
        self._drain = asyncio.create_task(self._drain_then_exit(grace_s))

    async def _drain_then_exit(self, grace_s: float) -> None:
        log.info("stopping: requests that are here are finished, new ones get 503")
        models: ModelRegistry = self._app.state.models
        models.begin_drain()
        try:
            async with asyncio.timeout(self._settings.drain_timeout_s):
                await asyncio.gather(models.idle(), asyncio.sleep(grace_s))
        except TimeoutError:
            models.abandon()
        self.should_exit = True


def uvicorn_config(app: FastAPI) -> uvicorn.Config:
    """uvicorn's configuration for this application; the tests run their servers with it, too."""
    settings: Settings = app.state.settings
    return uvicorn.Config(
        app,
        http=partial(Connection, answer_timeout_s=settings.answer_timeout_s),  # type: ignore[arg-type]  # called
        ws="none",
        log_config=None,  # `configure_logging` has set the handlers
        access_log=False,  # the middleware writes one line a request
        server_header=False,
        timeout_graceful_shutdown=5,  # for idle keep-alive connections; the drain has waited for the busy ones
    )


def serve(app: FastAPI, sockets: list[socket.socket]) -> None:
    """Listen on bound sockets until a signal; returns after the drain."""
    gc.collect()
    gc.freeze()  # keeps the collector out of the objects of start-up: walking them took 5 % of a request's time
    DrainingServer(app).run(sockets=sockets)
