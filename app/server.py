"""uvicorn with a drain: SIGTERM first turns readiness and new work to 503, and stops when all is answered.

uvicorn alone closes its listening socket at once, so a load balancer that has not noticed yet meets
refused connections; here it meets 503 until the last admitted request is answered.
"""

import asyncio
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.errors import StartupError
from app.settings import Settings


class DrainingServer(uvicorn.Server):
    """The first SIGTERM or SIGINT drains; a second one stops at once."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, *, drain_timeout_s: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_timeout_s = drain_timeout_s
        self._draining = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._event_loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            print(f"Text Telescope listens on http://{host}:{port} (documentation at /docs)", file=sys.stderr)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # super() would note the signal and raise it again at the end: a clean stop would exit with 143.
        if self._draining or not self.started:
            self.should_exit = self.force_exit = True
        else:
            self._draining = True
            self._event_loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        self._drain = asyncio.create_task(self._drain_then_exit())

    async def _drain_then_exit(self) -> None:
        service = self._app.state.service
        service.begin_drain()
        try:
            async with asyncio.timeout(self._drain_timeout_s):
                await service.batcher.idle()
        except TimeoutError:
            pass
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet, so that a busy port is known before the model is loaded.

    Raises StartupError naming the address and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as exc:
        bound.close()
        raise StartupError(
            f"Cannot listen on {host}:{port} ({exc.strerror or exc}); stop what uses it, "
            "or choose another with TELESCOPE_PORT or --port."
        ) from exc
    return bound


def serve(app: FastAPI, settings: Settings, bound: socket.socket) -> None:
    """Run until a signal; returns after the drain."""
    config = uvicorn.Config(
        app,
        log_config=None,  # our handlers are set
        access_log=False,  # the middleware writes the one line a request
        server_header=False,
        timeout_graceful_shutdown=5,  # idle keep-alive connections; the drain has waited for the busy ones
    )
    DrainingServer(config, app, drain_timeout_s=settings.drain_timeout_s).run(sockets=[bound])
