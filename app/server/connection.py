"""uvicorn's HTTP connection with an end to its patience: for heads that never end or never come, and for answers
that are never read.

httptools sets no limit to heads: one connection could fill the memory with headers; and what a client does not
read would be held until it closes. Bodies have limits of their own (`app/uploads.py`).
"""

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024  # request line and headers, give or take one read; proxies send a few KiB
HEAD_TIMEOUT_S = 30.0  # from the connection, or a head's first byte, to its last


log = logging.getLogger("telescope.connection")


class Connection(HttpToolsProtocol):
    _reader_watch: asyncio.TimerHandle | None = None
    _unspent = 0  # bytes received that made no head complete and are no body: headers, trailers, chunks' sizes
    _patience: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, answer_timeout_s: float, **kwargs: Any) -> None:  # noqa: ANN401  uvicorn's own
        super().__init__(*args, **kwargs)
        self._answer_timeout_s = answer_timeout_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        self._unspent += len(data)
        super().data_received(data)
        if self._unspent > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._unspent = 0
        self._rest()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unspent = 0
        super().on_body(body)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        if self._reader_watch:
            self._reader_watch.cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._rest()
        self._patience = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, b"408 Request Timeout")

    def _rest(self) -> None:
        if self._patience:
            self._patience.cancel()

    def _refuse(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()

    def _watch_reader(self) -> None:
        """Whether the client reads is asked again and again for as long as something waits for it."""
        if self._reader_watch:
            self._reader_watch.cancel()
        unread = self.transport.get_write_buffer_size()
        if unread:
            self._reader_watch = self.loop.call_later(self._answer_timeout_s, self._check_reader, unread)

    def _check_reader(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() < unread:
            self._watch_reader()
            return
        log.warning("cut off a client that does not read its answer", extra={"unread_bytes": unread})
        self.transport.abort()
