"""uvicorn's HTTP connection, with limits for the head of a request and for a client that does not read.

httptools limits neither the size of a head nor the time it takes, so one connection could fill the memory with
headers. A response that its client does not read would be held until the client closes. `app/http/` limits bodies.

Offers of another protocol are ignored (RFC 9110, 7.8). curl --http2 and Java's HttpClient offer HTTP/2 with their
first request, and httptools takes the body behind such a head for the other protocol.
"""

import asyncio
import logging
from typing import Any

import httptools
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
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            if self.parser.get_method() == b"PRI":  # the preface of HTTP/2
                self._refuse(b"505 HTTP Version Not Supported", b"This service speaks HTTP/1.1, not HTTP/2.")
            else:
                self._refuse(b"400 Bad Request", b"The request is not valid HTTP/1.1.")
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")

    def _parse(self, data: bytes | memoryview) -> None:
        """Parses a request with an offer of another protocol a second time without it.

        httptools stops behind its head; a fresh parser then reads that head without `Upgrade`, and the body.
        """
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                (end_of_head,) = offer.args
                data = memoryview(data)[end_of_head:]
            method, version = self.parser.get_method(), self.parser.get_http_version().encode()
            if method == b"CONNECT":  # there is no request behind this head
                self._refuse(b"501 Not Implemented", b"This service is no proxy.")
                return
            lines = [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
            head = b"".join((b"%s %s HTTP/%s\r\n" % (method, self.url, version), *lines, b"\r\n"))
            self.parser = type(self.parser)(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
            self.parser.feed_data(head)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_head_timeout()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._head_bytes = 0
        _cancel(self._head_timeout)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

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

    def _refuse(self, status: bytes, message: bytes = b"") -> None:
        if self.transport.is_closing():
            return
        if self._owes_another_response():
            self.transport.abort()
            return
        head = b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % (status, len(message)) + message)
        self.transport.close()

    def _owes_another_response(self) -> bool:
        """Whether the client would take a refusal for the response to an earlier request, or for a part of it."""
        if not self.cycle or self.cycle.response_complete:
            return False
        return bool(self.pipeline) or self.cycle.response_started or not self.cycle.more_body

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
