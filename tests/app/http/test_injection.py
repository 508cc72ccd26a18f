"""What a client writes into headers, addresses and file names forges no header, no log line and no JSON."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from app.telemetry.logs import configure_logging
from tests.app.conftest import Server, png
from tests.app.raw import exchange

OURS = {  # every header the service ever sends
    "content-length", "content-type", "date", "server-timing", "x-request-id", "x-model-name", "x-model-version",
    "x-model-digest", "x-method", "x-reason", "allow", "connection",
}  # fmt: skip
# A line end in every spelling that something on the way might take for one, and what would follow it.
LINE_ENDS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x0b",
    b"\x0c",
    b"\x1c",
    b"\x85",
    b"\xe2\x80\xa8",
    b"\xc4\x8d\xc4\x8a",
    b"\x00",
    b"\t",
]
FORGED = b'Set-Cookie: evil=1","level":"CRITICAL","request_id":"forged'


@pytest.fixture
def log_lines(server: Server) -> Iterator[io.StringIO]:
    """The log as `text-telescope serve` writes it."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logging("debug")
    written = io.StringIO()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    yield written
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


def check(status: int, headers: list[tuple[str, str]], body: bytes, log_lines: io.StringIO) -> None:
    assert status < 500
    names = [name for name, _ in headers]
    assert set(names) <= OURS
    assert len(names) == len(set(names))
    for _, value in headers:
        assert value.isprintable()
    if dict(headers).get("content-type", "").endswith("json"):
        json.loads(body)
        assert not re.search(rb"[\x00-\x1f\x7f]", body)
    for line in log_lines.getvalue().split("\n")[:-1]:
        entry = json.loads(line)
        assert line.isprintable()
        assert entry["level"] != "CRITICAL"
        assert entry.get("request_id") != "forged"


@pytest.mark.parametrize("end", LINE_ENDS)
@pytest.mark.parametrize(
    "header",
    [b"X-Request-ID", b"X-Request-Timeout-Ms", b"Accept", b"Authorization", b"Host", b"Origin", b"X-API-Key"],
)
def test_header_values(server: Server, log_lines: io.StringIO, header: bytes, end: bytes) -> None:
    picture = png()
    head = b"POST /v1/super-resolve HTTP/1.1\r\nContent-Type: image/png\r\nConnection: close\r\n"
    head += b"Content-Length: %d\r\n" % len(picture) + (b"Host: x\r\n" if header != b"Host" else b"")
    forged = header + b": abc" + end + FORGED + b"\r\n\r\n"
    check(*_as_ours(exchange(server, head + forged + picture)), log_lines)


@pytest.mark.parametrize("end", LINE_ENDS)
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("path", [b"/nowhere%s", b"/livez%s/", b"/v1/models/%s", b"/web/%s", b"/v1/models?%s=1"])
def test_addresses(server: Server, log_lines: io.StringIO, path: bytes, quoted: bool, end: bytes) -> None:
    evil = end + FORGED.replace(b" ", b"")
    if quoted:
        evil = b"".join(b"%%%02x" % byte for byte in evil)
    request = b"GET " + path % evil + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    check(*_as_ours(exchange(server, request)), log_lines)


@pytest.mark.parametrize("end", [*LINE_ENDS, b"%0d%0a", b"\\r\\n", b"\x1b[31m", b'\\"', b"\xff\xfe"])
@pytest.mark.parametrize("accept", [b"application/json", b"application/zip", b"image/*"])
def test_file_names(server: Server, log_lines: io.StringIO, accept: bytes, end: bytes) -> None:
    part = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a'
        + end
        + FORGED.replace(b'"', b"'")
        + b'"'
    )
    body = part + b"\r\n\r\n" + png() + b"\r\n--b--\r\n"
    request = (
        b"POST /v1/super-resolve HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: " + accept +
        b"\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )  # fmt: skip
    status, headers, answer = exchange(server, request)
    check(status, headers, answer, log_lines)
    assert b"Set-Cookie" not in log_lines.getvalue().encode()


@pytest.mark.parametrize("header", [b"X-Request-ID", b"Accept", b"X-Request-Timeout-Ms", b"Content-Type", b"Host"])
def test_very_long_values_are_answered_in_short(server: Server, log_lines: io.StringIO, header: bytes) -> None:
    request = b"POST /v1/super-resolve HTTP/1.1\r\nConnection: close\r\n" + header + b": " + b"9" * 60_000
    status, headers, body = exchange(server, request + b"\r\nContent-Length: 0\r\n\r\n")
    assert status in (400, 415, 422)
    assert sum(len(value) for _, value in headers) < 1000
    assert len(log_lines.getvalue()) < 5000
    if header != b"Content-Type":
        assert len(body) < 1000


def _as_ours(answer: tuple[int, list[tuple[str, str]], bytes]) -> tuple[int, list[tuple[str, str]], bytes]:
    """The parser's own refusal is text, and has no id."""
    assert answer[0] == 400 or "x-request-id" in dict(answer[1])
    return answer
