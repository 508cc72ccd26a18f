"""Two ports of one process; keys that a signal reads again."""

import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.http.api_keys import new_key
from tests.app.process import Process, wait_until
from tests.conftest import REPOSITORY

pytest.importorskip("openvino")

pytestmark = pytest.mark.slow
CROP = (REPOSITORY / "examples" / "crops" / "harbour.png").read_bytes()
OPERATORS = ("/metrics", "/docs", "/redoc", "/openapi.json", "/static-offline-docs/swagger-ui.css")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_what_operators_need_is_on_their_port_alone_and_the_drain_covers_both(
    start: Callable[..., Process],
) -> None:
    port = free_port()
    service = start(TELESCOPE_ADMIN_PORT=str(port), TELESCOPE_DRAIN_GRACE_S="1")
    url, admin = service.url(), f"http://127.0.0.1:{port}"
    assert any(f"documentation: port {port}, /docs" in line for line in service.lines)
    for path in (*OPERATORS, "/metrics/", "/%6detrics"):
        hidden = httpx.get(f"{url}{path}", headers={"Host": f"127.0.0.1:{port}"})
        assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")
        assert hidden.json()["request_id"] == hidden.headers["x-request-id"]
    mistyped = [httpx.get(f"{base}/metric").json()["detail"] for base in (url, admin)]
    assert ["/metrics" in detail for detail in mistyped] == [False, True]
    switch = "/v1/models/tbsrn/activate"
    assert [httpx.post(f"{base}{switch}").status_code for base in (url, admin)] == [404, 403]
    for path in (*OPERATORS, "/livez", "/readyz"):
        assert httpx.get(f"{admin}{path}").status_code == 200, path
    page = httpx.get(url).text
    assert 'data-operations="elsewhere"' in page
    for base in (url, admin):
        assert httpx.get(f"{base}/readyz").status_code == 200
        assert httpx.post(f"{base}/v1/super-resolve", files={"image": CROP}, timeout=60).status_code == 200
    assert (
        'telescope_requests_total{outcome="ok",route="/v1/super-resolve"} 2.0'
        in httpx.get(f"{admin}/metrics").text
    )
    service.popen.send_signal(signal.SIGTERM)
    for base in (url, admin):
        wait_until(lambda base=base: httpx.get(f"{base}/readyz").status_code == 503)  # type: ignore[misc]
    assert service.wait() == 0


def test_a_busy_admin_port_stops_the_start_with_its_setting(start: Callable[..., Process]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = start(TELESCOPE_ADMIN_PORT=str(taken.getsockname()[1]))
        assert service.wait() == 2
    (line,) = service.lines
    assert "choose another port with TELESCOPE_ADMIN_PORT" in line


def test_keys_that_cannot_be_read_stop_the_start_in_one_sentence(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    service = start(TELESCOPE_API_KEYS_FILE=str(tmp_path / "nowhere"))
    assert service.wait() == 2
    (line,) = service.lines
    assert "TELESCOPE_API_KEYS_FILE" in line


def test_sighup_reads_the_keys_again_and_drops_no_request(start: Callable[..., Process], tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    keys = [new_key("shop"), new_key("shop")]
    file.write_text(keys[0][1].entry())
    service = start(TELESCOPE_API_KEYS_FILE=str(file))
    url = service.url()

    def status(key: str) -> int:
        with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=60) as client:
            return client.post("/v1/super-resolve", files={"image": CROP}).status_code

    old, new = keys[0][0], keys[1][0]
    assert (status(old), status(new)) == (200, 401)
    statuses: list[int] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            statuses.append(status(old))

    asking = threading.Thread(target=keep_asking)
    asking.start()
    wait_until(lambda: len(statuses) > 2)
    file.write_text("rubbish")
    service.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: any("stay in force" in line for line in list(service.lines)))
    so_far = len(statuses)
    wait_until(lambda: len(statuses) > so_far + 2)
    stop.set()
    asking.join()
    assert set(statuses) == {200}
    file.write_text(keys[1][1].entry())
    service.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: any("read again" in line for line in list(service.lines)))
    assert (status(old), status(new)) == (401, 200)
    assert [log["level"] for log in service.logs() if log["logger"] == "telescope.access"] == ["ERROR", "INFO"]
    assert not any(key in "".join(service.lines) for key in (old, new))
