"""uvicorn's HTTP connection with time limits for reading a request's head and for writing a response.

httptools limits neither the size of a head nor the time it takes, so one connection could fill the memory with
headers. A response that its client does not read would be held until the client closes. `app/http/` limits bodies.
"""

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024  # request line and headers, give or take one read; proxies send a few KiB
HEAD_TIMEOUT_S = 30.0  # from the connection's start, or a head's first byte, to the head's last byte

log = logging.getLogger("telescope.connection")


class Connection(HttpToolsProtocol):
    _head_bytes = 0  # received since the last complete head or part of a body: headers, trailers, chunk sizes
    _head_timeout: asyncio.TimerHandle | None = None
    _write_timeout: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, answer_timeout_s: float, **kwargs: Any) -> None:  # noqa: ANN401  uvicorn's own
        super().__init__(*args, **kwargs)
        self._answer_timeout_s = answer_timeout_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timeout()

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_head_timeout()

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        _cancel(self._head_timeout)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_timeout()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._start_write_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._head_timeout)
        _cancel(self._write_timeout)
        super().connection_lost(exc)

    def _start_head_timeout(self) -> None:
        _cancel(self._head_timeout)
        self._head_timeout = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        if self.cycle and not self.cycle.response_complete:  # the client would read the refusal as a part of it
            self.transport.abort()
            return
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()

    def _start_write_timeout(self) -> None:
        """If part of a response is unsent, check after `answer_timeout_s` that the client has read some of it."""
        _cancel(self._write_timeout)
        if unsent := self.transport.get_write_buffer_size():
            self._write_timeout = self.loop.call_later(self._answer_timeout_s, self._check_progress, unsent)

    def _check_progress(self, unsent: int) -> None:
        if self.transport.get_write_buffer_size() < unsent:
            self._start_write_timeout()
            return
        log.warning("cut off a client that does not read its response", extra={"unsent_bytes": unsent})
        self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()
