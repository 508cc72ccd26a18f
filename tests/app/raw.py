"""Bytes into a socket and out of it: what no HTTP client would send."""

import socket

from tests.app.conftest import Server


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def exchange(server: Server, request: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers in order with names in lower case, and body. The request asks to close the connection."""
    with connect(server) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    return int(status.split()[1]), [(name.lower(), value) for name, value in pairs], body
