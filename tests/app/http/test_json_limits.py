"""Every limit of /v1/super-resolve, for JSON there and at the addresses of other protocols."""

import base64
import json
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.http.api_keys import new_key
from app.http.doors import hubserving, paddlex
from tests.app.conftest import Server, assert_reconciled, png
from tests.app.process import wait_until
from tests.app.raw import connect

BASE64 = base64.b64encode(png()).decode()
CROPS = "/v1/super-resolve"
BODIES: dict[str, dict[str, object]] = {
    CROPS: {"images": [{"data": BASE64}]},
    hubserving.PATH: {"images": [BASE64]},
    paddlex.PATH: {"file": BASE64},
}
Start = Callable[..., Server]
every_address = pytest.mark.parametrize("path", BODIES)
JSON = {"content-type": "application/json"}


def ask(server: Server, path: str, **options: dict[str, str]) -> httpx.Response:
    return server.client.post(path, json=BODIES[path], **options)  # type: ignore[arg-type]


def assert_counted(server: Server, path: str, outcome: str, count: int = 1) -> None:
    """A request is counted just after its response is sent."""
    wait_until(lambda: server.metric("telescope_requests_total", route=path, outcome=outcome) == count)
    assert_reconciled(server)


@every_address
def test_counters_of_an_address_begin_at_zero(start_server: Start, path: str) -> None:
    server = start_server()
    server.client.get("/livez")
    text = server.client.get("/metrics").text
    assert f'telescope_requests_total{{outcome="bad_input",route="{path}"}} 0.0' in text


@every_address
def test_a_body_over_the_limit_is_refused_by_its_declared_length_and_while_it_streams(
    start_server: Start, path: str
) -> None:
    server = start_server(max_request_bytes=2048)
    assert ask(server, path).status_code == 200

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 1024

    for content in (b" " * 4096, endless()):
        assert server.client.post(path, content=content, headers=JSON).status_code == 413
    assert_counted(server, path, "bad_input", 2)


@pytest.mark.parametrize("path", [CROPS, hubserving.PATH])
def test_too_many_images_are_refused(start_server: Start, path: str) -> None:
    server = start_server(max_images=2)
    refused = server.client.post(path, json={"images": [BASE64] * 3})
    assert refused.status_code == 413
    assert "At most 2 images" in refused.text
    assert server.client.post(path, json={"images": [BASE64] * 2}).status_code == 200


@every_address
def test_a_key_is_required_and_its_rate_limited(start_server: Start, path: str) -> None:
    key, stored = new_key("shop")
    server = start_server(api_keys=stored.entry(), key_rate_per_s=0.01, key_burst=1)
    refused = ask(server, path)
    assert (refused.status_code, refused.headers["www-authenticate"][:6]) == (401, "Bearer")
    assert "API key" in refused.text
    bearer = {"Authorization": f"Bearer {key}"}
    assert ask(server, path, headers=bearer).status_code == 200
    limited = ask(server, path, headers=bearer)
    assert (limited.status_code, int(limited.headers["retry-after"]) > 10) == (429, True)
    assert_counted(server, path, "refused", 2)


@every_address
def test_a_full_queue_answers_429_with_a_time_to_come_back(start_server: Start, path: str) -> None:
    server = start_server(max_queue_windows=2, max_images=2)
    server.runtime.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.post, png(), png())
        wait_until(lambda: server.metric("telescope_admitted_windows") == 2)
        refused = ask(server, path)
        server.runtime.gate.set()
        assert held.result().status_code == 200
    assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (429, True)
    assert_counted(server, path, "refused")


@every_address
def test_a_draining_service_answers_503(start_server: Start, path: str) -> None:
    server = start_server()
    server.app.state.models.begin_drain()
    assert ask(server, path).status_code == 503
    wait_until(lambda: server.metric("telescope_requests_total", route=path, outcome="refused") == 1)


@every_address
def test_the_deadline_of_a_request_holds(start_server: Start, path: str) -> None:
    server = start_server()
    server.runtime.gate.clear()
    assert ask(server, path, headers={"X-Request-Timeout-Ms": "100"}).status_code == 504
    assert ask(server, path, headers={"X-Request-Timeout-Ms": "soon"}).status_code == 422
    server.runtime.gate.set()
    assert_counted(server, path, "expired")


@every_address
def test_a_body_that_does_not_arrive_gets_408(start_server: Start, path: str) -> None:
    server = start_server(request_timeout_ms=200)
    with connect(server) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{"
        connection.sendall(head.encode())
        assert b" 408 " in connection.recv(4096).split(b"\r\n")[0]


@every_address
def test_a_client_that_leaves_takes_its_image_out_of_the_queue(start_server: Start, path: str) -> None:
    server = start_server()
    server.runtime.gate.clear()
    body = json.dumps(BODIES[path]).encode()
    with connect(server) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: server.metric("telescope_admitted_windows") == 1)
        connection.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: server.metric("telescope_requests_total", route=path, outcome="cancelled") == 1)
    server.runtime.gate.set()
    wait_until(lambda: server.metric("telescope_admitted_windows") == 0)
    assert server.metric("telescope_images_total", outcome="cancelled") == 1
    assert ask(server, path).status_code == 200
    wait_until(lambda: server.metric("telescope_body_bytes") == 0)
    assert_reconciled(server)


ODD: list[bytes] = [
    *(b"", b" ", b"{", b"[", b'"', b"nul", b"null", b"0", b"-", b"1e999", b"NaN", b"Infinity", b"true", b"\0"),
    *(b"[[]]", b"[{}]", b"{}", b'{"":""}', b'{"images":', b'{"images":[', b'{"images":["', b'{"images":{}}'),
    *(b'{"images":[null]}', b'{"images":[[]]}', b'{"images":[{}]}', b'{"images":[{"data":null}]}', b"\xff"),
    *(b'{"images":[{"data":{"data":""}}]}', b'{"images":[""]}', b'{"images":["A"]}', b'{"images":["===="]}'),
    *(b'{"images":["\\u0000"]}', b'{"images":["\\ud800"]}', b'{"images":["\\ud83d\\ude00"]}'),
    *(b'{"images":["\xff"]}', b'{"image":"data:,"}', b'{"file":"AAAA","fileType":true}', b'{"file":"data:"}'),
    *(b'{"file":null}', b'{"file":[]}', b'{"file":{}}', b'{"file":1}', b'{"file":"A","fileType":"1"}'),
    *(b'{"images":["a"],"images":[]}', b'{"__proto__":{}}', b'{"images":["../../etc/passwd"]}', b"\xef\xbb\xbf"),
    *(b"\xff\xfe{\0}\0", b"<xml/>", b"images=a", b"{'images': []}", b"// x\n{}", b'{"images":[],}', b"{}{}"),
    *(b"[" * 100_000, b'{"a":' * 100_000, b'{"images":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    *(b'{"images":1' + b"0" * 100_000 + b"}", b'{"images":["' + b"=" * 200_000 + b'"]}'),
    b'{"images":["' + b"\\n" * 200_000 + b'"]}',
    b"{" + b",".join(b'"%d":0' % key for key in range(90_000)) + b"}",
    b'{"images":[{' + b",".join(b'"%d":0' % key for key in range(90_000)) + b"}]}",
    b'{"images":[' + b",".join([b"{}"] * 40_000) + b"]}",
    b" " * 1_000_000,
]


@every_address
def test_an_odd_body_is_refused_and_leaves_nothing_behind(
    server: Server, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for body in ODD:
            answer = server.client.post(path, content=body, headers=JSON)
            assert 400 <= answer.status_code < 500, (body[:60], answer.text[:200])
            assert answer.headers["content-type"].endswith("json")
            assert len(answer.content) < 2000
            assert json.loads(answer.content)
    assert not caplog.records
    wait_until(lambda: server.metric("telescope_body_bytes") == 0)
    assert_reconciled(server)
