"""Every request, whichever route it takes, gets an id, headers, one count and one log line.

A plain ASGI middleware: Starlette's BaseHTTPMiddleware hides a client's disconnect from the endpoint.
"""

import asyncio
import logging
import re
from dataclasses import dataclass, field
from random import getrandbits
from time import perf_counter

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.batching.capacity import Budget
from app.errors import InternalError, NotReady, ServiceError
from app.http.problems import respond
from app.serving.model_service import ServedModel
from app.serving.runner import Timings
from app.telemetry.logs import request_id
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import POLLED

MAX_LOGGED_PATH = 200  # characters; ours are shorter
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
log = logging.getLogger("telescope.request")


@dataclass
class RequestRecord:
    """Facts about a request, filled in on its way; `request.state.record`."""

    request_id: str
    started: float = field(default_factory=perf_counter)
    timings: Timings = field(default_factory=Timings)
    key: str | None = None  # the API key's name
    model: ServedModel | None = None  # once it is known
    images: int = 0
    failed: int = 0  # of the images
    status: int = 0
    code: str = "ok"
    outcome: str = "ok"

    def server_timing(self) -> str:
        phases = [
            ("decode", self.timings.decode_s),
            ("queue", self.timings.queue_s),
            ("inference", self.timings.inference_s),
            ("encode", self.timings.encode_s),
            *[("detect", self.timings.detect_s)] * bool(self.timings.detect_s),
            *[("read", self.timings.read_s)] * bool(self.timings.read_s),
            ("total", perf_counter() - self.started),
        ]
        return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in phases)


class RequestMiddleware:
    def __init__(self, app: ASGIApp, *, metrics: Metrics, unsent_bytes: Budget) -> None:
        """unsent_bytes: counts the responses that wait for their clients."""
        self.app = app
        self.metrics = metrics
        self.unsent_bytes = unsent_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        record = RequestRecord(given if _REQUEST_ID.fullmatch(given) else f"{getrandbits(128):032x}")
        scope.setdefault("state", {})["record"] = record
        self.metrics.requests_received.inc()
        self.metrics.requests_in_progress.inc()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", record.request_id.encode()),
                    (b"server-timing", record.server_timing().encode()),
                    *(record.model or scope["app"].state.models.default).headers,
                ]
            body = message.get("body", b"")
            if not body or message.get("more_body"):
                await send(message)
                return
            self.unsent_bytes.take(len(body))
            try:
                await send({**message, "more_body": True})
                await send({"type": "http.response.body"})  # waits until the client has taken nearly all of it
            finally:
                self.unsent_bytes.give_back(len(body))

        async def refuse(error: ServiceError) -> None:
            response = respond(Request(scope), error)
            if not record.status:
                await response(scope, receive, send_with_headers)

        request_id.set(record.request_id)
        try:
            await self.app(scope, receive, send_with_headers)
        except asyncio.CancelledError:  # the server stops, and has waited long enough for this request
            await refuse(NotReady("The service has stopped; send the request to another replica."))
            raise
        except Exception:
            log.exception("internal error")
            await refuse(InternalError("An unexpected error was logged under this request's id."))
        finally:
            self._finish(scope, record)

    def _finish(self, scope: Scope, record: RequestRecord) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        seconds = perf_counter() - record.started
        self.metrics.requests_in_progress.dec()
        self.metrics.requests.labels(route, record.outcome).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        if record.key:
            self.metrics.key_requests.labels(record.key, record.outcome).inc()
            self.metrics.key_images.labels(record.key).inc(record.images)
        quiet = route in POLLED and record.status < 400
        log.log(
            logging.DEBUG if quiet else logging.INFO,
            "request",
            extra={
                "method": scope["method"],
                "route": route,
                "path": scope["path"][:MAX_LOGGED_PATH],
                "status": record.status,
                "code": record.code,
                "key": record.key,
                "images": record.images,
                "images_failed": record.failed,
                "duration_ms": round(seconds * 1000, 2),
                "queue_ms": round(record.timings.queue_s * 1000, 2),
                "inference_ms": round(record.timings.inference_s * 1000, 2),
            },
        )
