"""uvicorn's HTTP connection with an end to its patience: neither a head that never ends nor one that never comes.

httptools sets no limit to either: one connection could fill the memory with headers. Bodies have limits of their
own (`app/uploads.py`).
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024  # request line and headers, give or take one read; proxies send a few KiB
HEAD_TIMEOUT_S = 30.0  # from the connection, or a head's first byte, to its last


class Connection(HttpToolsProtocol):
    _unspent = 0  # bytes received that made no head complete and are no body: headers, trailers, chunks' sizes
    _patience: asyncio.TimerHandle | None = None

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

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
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
