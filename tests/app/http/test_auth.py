"""API keys and CORS over HTTP."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from text_telescope import BadRequest, TelescopeClient

from app.__main__ import main
from app.http.api_keys import new_key
from tests.app.conftest import Server, assert_reconciled, picture, png
from tests.app.process import wait_until

KEY, STORED = new_key("shop")
OTHER_KEY, OTHER = new_key("press")
BEARER = {"Authorization": f"Bearer {KEY}"}
Start = Callable[..., Server]


@pytest.fixture
def server(start_server: Start) -> Server:
    return start_server(api_keys=STORED.entry())


@pytest.mark.parametrize("headers", [BEARER, {"Authorization": f"bearer {KEY}"}, {"X-API-Key": KEY}])
def test_a_key_opens_the_api(server: Server, headers: dict[str, str]) -> None:
    assert server.post(png(), headers=headers).status_code == 200
    assert server.client.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {OTHER_KEY}"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"Authorization": f"Bearer {STORED.sha256.hex()}"},
        {"Authorization": "Bearer \xff\xfe".encode("latin-1")},
        {"Authorization": "Bearer " + "k" * 30_000},
        {"X-API-Key": ""},
        {"X-API-Key": OTHER_KEY},
        {"Authorization": f"Bearer {OTHER_KEY}", "X-API-Key": KEY},
    ],
)
def test_without_a_known_key_the_api_is_closed_before_any_body_is_read(
    server: Server, headers: dict[str, str | bytes]
) -> None:
    response = server.post(png(), query="?format=nonsense", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert server.metric("telescope_images_received_total") == 0
    assert server.metric("telescope_upload_bytes_total") == 0


def test_every_described_route_asks_for_a_key_but_health_and_metrics(server: Server) -> None:
    schema = server.client.get("/openapi.json").json()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            response = server.client.request(method, path.format(name="tbsrn", version=1))
            closed = path not in ("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")
            assert (response.status_code == 401) == closed, path
            assert {"401", "429"} <= set(operation["responses"]) or not closed, path
            assert operation.get("security") == ([{"Bearer": []}, {"X-API-Key": []}] if closed else None), path
    documented = {
        route.path for route in server.app.routes if isinstance(route, APIRoute) if route.include_in_schema
    }
    assert documented <= set(schema["paths"])
    for path in ("/", "/web/main.js", "/docs", "/openapi.json", "/metrics", "/livez", "/readyz"):
        assert server.client.get(path).status_code == 200, path


def test_an_open_service_takes_no_notice_of_keys(start_server: Start) -> None:
    server = start_server()
    assert server.post(png(), headers={"Authorization": "Bearer whatever"}).status_code == 200
    assert "security" not in server.client.get("/openapi.json").text


def test_the_log_and_the_metrics_name_the_key_and_never_show_it(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        server.post(png(), png(), b"no picture", headers=BEARER)
        server.post(png(), headers={"X-API-Key": OTHER_KEY})
        server.post(b"no picture", headers=BEARER)
        wait_until(lambda: server.metric("telescope_requests_total") == 3)
    assert [vars(line)["key"] for line in caplog.records if line.message == "request"] == ["shop", None, "shop"]
    everything = "".join(str(vars(line)) for line in caplog.records) + server.client.get("/metrics").text
    for secret in (KEY, OTHER_KEY, STORED.sha256.hex()):
        assert secret not in everything
    assert server.metric("telescope_key_requests_total", key="shop", outcome="ok") == 1
    assert server.metric("telescope_key_requests_total", key="shop", outcome="bad_input") == 1
    assert server.metric("telescope_key_images_total", key="shop") == 4
    assert server.metric("telescope_key_requests_total") == 2
    assert server.metric("telescope_requests_total", outcome="refused") == 1
    assert_reconciled(server)


def test_one_keys_rate_is_no_other_keys(start_server: Start) -> None:
    server = start_server(api_keys=f"{STORED.entry()},{OTHER.entry()}", key_rate_per_s=0.01, key_burst=2)
    assert server.post(png(), png(), headers=BEARER).status_code == 200
    refused = server.post(png(), headers=BEARER)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 90 < int(refused.headers["retry-after"]) <= 100
    assert f"try again in {refused.headers['retry-after']} s" in refused.json()["detail"]
    assert server.post(png(), headers={"X-API-Key": OTHER_KEY}).status_code == 200
    assert server.metric("telescope_key_requests_total", key="shop", outcome="refused") == 1
    assert_reconciled(server)


def test_one_keys_requests_in_flight_leave_room_for_another_keys(start_server: Start) -> None:
    server = start_server(api_keys=f"{STORED.entry()},{OTHER.entry()}", key_max_concurrency=1)
    server.runtime.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(server.post, png(), headers=BEARER)
        wait_until(lambda: server.metric("telescope_admitted_windows") == 1)
        refused = server.post(png(), headers=BEARER)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) >= 1
        other = pool.submit(server.post, png(), headers={"X-API-Key": OTHER_KEY})
        wait_until(lambda: server.metric("telescope_admitted_windows") == 2)
        server.runtime.gate.set()
        assert (held.result().status_code, other.result().status_code) == (200, 200)
    wait_until(lambda: server.metric("telescope_requests_in_progress") == 0)
    assert server.post(png(), headers=BEARER).status_code == 200
    assert_reconciled(server)


def test_a_client_that_leaves_frees_its_keys_place(start_server: Start) -> None:
    server = start_server(api_keys=STORED.entry(), key_max_concurrency=1)
    server.runtime.gate.clear()
    with pytest.raises(Exception, match="timed out"):
        server.post(png(), headers=BEARER, timeout=0.2)
    wait_until(lambda: server.metric("telescope_key_requests_total", key="shop", outcome="cancelled") == 1)
    server.runtime.gate.set()
    assert server.post(png(), headers=BEARER).status_code == 200


def test_a_reload_swaps_the_keys_and_a_broken_file_keeps_the_old_ones(
    start_server: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(STORED.entry())
    server = start_server(api_keys_file=file)

    def status(key: str) -> int:
        return server.client.get("/v1/models", headers={"X-API-Key": key}).status_code

    assert (status(KEY), status(OTHER_KEY)) == (200, 401)
    file.write_text(OTHER.entry())
    server.app.state.authentication.reload()
    assert (status(KEY), status(OTHER_KEY)) == (401, 200)
    for broken in ("rubbish", ""):
        file.write_text(broken)
        server.app.state.authentication.reload()
    file.unlink()
    server.app.state.authentication.reload()
    assert (status(KEY), status(OTHER_KEY)) == (401, 200)
    errors = [line.getMessage() for line in caplog.records if line.levelname == "ERROR"]
    assert len(errors) == 3
    assert all(error.startswith("the old API keys stay in force: ") for error in errors)


def test_the_client_sends_its_key(server: Server) -> None:
    with TelescopeClient(server.url, api_key=KEY) as telescope:
        assert telescope.super_resolve(picture()).shape == (32, 128, 3)
    with TelescopeClient(server.url) as telescope, pytest.raises(BadRequest, match="asks for an API key"):
        telescope.super_resolve(picture())
    with pytest.raises(BadRequest, match="line end"):
        TelescopeClient(server.url, api_key=f"{KEY}\n")


def test_the_command_line_takes_the_key_from_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(png())
    command = ["upscale", "--url", server.url, str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "asks for an API key" in capsys.readouterr().err
    monkeypatch.setenv("TELESCOPE_API_KEY", f"{KEY}\n")
    assert main(command) == 2
    assert "line end" in capsys.readouterr().err
    monkeypatch.setenv("TELESCOPE_API_KEY", KEY)
    assert main(command) == 0
    assert (tmp_path / "out" / "a.png").exists()


PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-request-timeout-ms",
}


def test_pages_of_other_origins_are_shut_out_unless_listed(start_server: Start) -> None:
    def preflight(server: Server, origin: str) -> tuple[int, str | None]:
        response = server.client.options("/v1/super-resolve", headers={"Origin": origin, **PREFLIGHT})
        assert len(response.headers["x-request-id"]) == 32
        return response.status_code, response.headers.get("access-control-allow-origin")

    closed = start_server()
    assert preflight(closed, "https://shop.example") == (405, None)
    answer = closed.client.get("/v1/models", headers={"Origin": "https://shop.example"})
    assert "access-control-allow-origin" not in answer.headers
    opened = start_server(cors_origins="https://shop.example, http://localhost:3000", api_keys=STORED.entry())
    for origin in ("https://shop.example", "http://localhost:3000"):
        assert preflight(opened, origin) == (200, origin)
    for origin in ("https://shop.example.evil", "http://shop.example", "null"):
        assert preflight(opened, origin) == (400, None)


def test_a_listed_page_can_read_answers_and_refusals(start_server: Start) -> None:
    server = start_server(cors_origins="https://shop.example", api_keys=STORED.entry())
    for headers, status in [(BEARER, 200), ({}, 401)]:
        response = server.post(png(), headers={**headers, "Origin": "https://shop.example"})
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-credentials" not in response.headers  # there are no cookies
        exposed = response.headers["access-control-expose-headers"].split(", ")
        assert {"X-Request-ID", "Server-Timing", "X-Model-Digest", "Retry-After"} <= set(exposed)
