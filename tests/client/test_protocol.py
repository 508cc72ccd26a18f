"""Unhealthy responses: busy, shutting down, broken, or from another program."""

import asyncio
import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from text_telescope import (
    Answer,
    AsyncTelescopeClient,
    BadImage,
    Overloaded,
    ServerError,
    TelescopeClient,
    TelescopeError,
    TimedOut,
    Unreachable,
)

from tests.app.conftest import picture, png


class Script:
    """A server with one scripted reply per request; None breaks the connection."""

    def __init__(self, *replies: tuple[int, dict[str, str], str] | None) -> None:
        script = iter(replies)
        self.asked_at: list[float] = []
        asked_at = self.asked_at

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked_at.append(time.monotonic())
                self.rfile.read(int(self.headers["content-length"]))
                reply = next(script)
                if reply is None:
                    return
                status, headers, body = reply
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> "Script":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def response_with(*images: object) -> tuple[int, dict[str, str], str]:
    return 200, {}, json.dumps({"images": images})


def failed(status: int, code: str) -> dict[str, object]:
    return {"outcome": "failed", "problem": {"status": status, "code": code, "detail": "as written"}}


DONE = {
    "outcome": "ok",
    "media_type": "image/png",
    "data": base64.b64encode(png()).decode(),
    "method": "enlarged",
    "reason": "sharp already",
}


def answers_from(url: str, count: int = 1, **settings: float) -> list[Answer | BadImage]:
    with TelescopeClient(url, **settings) as client:  # type: ignore[arg-type]
        return client.answers([png()] * count)


def test_a_retry_waits_for_the_time_named() -> None:
    with Script((429, {"Retry-After": "1"}, ""), (503, {}, "from a proxy"), response_with(DONE)) as script:
        (answer,) = answers_from(script.url)
    assert isinstance(answer, Answer)
    assert (answer.method, answer.reason) == ("enlarged", "sharp already")
    first, second, third = script.asked_at
    assert 1 <= second - first < 3
    assert third - second >= 0.25  # the client's own pause if none is named


def test_a_broken_connection_is_retried_a_few_times() -> None:
    with Script(None, None, response_with(DONE)) as script:
        assert isinstance(answers_from(script.url)[0], Answer)
    with Script(None, None, None) as script, pytest.raises(Unreachable, match="disconnected"):
        answers_from(script.url)
    assert len(script.asked_at) == 3


def test_only_images_that_a_stopping_service_dropped_are_sent_again() -> None:
    gone, late = failed(503, "not_ready"), failed(504, "deadline_exceeded")
    with Script(
        response_with(DONE, gone, failed(400, "undecodable_image")), response_with(late), response_with(DONE)
    ) as script:
        first, second, third = answers_from(script.url, 3)
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert isinstance(third, BadImage)
    with Script(response_with(gone)) as script:
        (left,) = answers_from(script.url, timeout_s=0.2)
    assert isinstance(left, BadImage)
    assert (left.problem.code, len(script.asked_at)) == ("not_ready", 1)


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        ((500, {}, "<h1>oh</h1>"), ServerError, "Status 500"),
        ((404, {}, "<h1>who?</h1>"), ServerError, "is no Text Telescope"),
        ((302, {"Location": "/elsewhere"}, ""), ServerError, "is no Text Telescope"),
        ((200, {}, "<h1>hello</h1>"), ServerError, "is no Text Telescope"),
        ((200, {}, '{"images": [{"outcome": "ok"}]}'), ServerError, "is no Text Telescope"),
        (response_with({**DONE, "data": "no base64!"}), ServerError, "is no Text Telescope"),
        (response_with(DONE, DONE), ServerError, "2 images of 1"),
        ((429, {"Retry-After": "3600"}, ""), Overloaded, "Status 429"),
        ((504, {}, ""), TimedOut, "Status 504"),
        ((413, {}, "from a proxy"), BadImage, "Status 413"),
    ],
)
def test_every_unhealthy_response_raises_its_error(
    reply: tuple[int, dict[str, str], str], error: type[TelescopeError], words: str
) -> None:
    with Script(reply) as script, TelescopeClient(script.url) as client, pytest.raises(error, match=words):
        client.super_resolve(png())


def test_a_proxys_page_is_no_picture() -> None:
    with (
        Script((200, {"Content-Type": "text/html"}, "<h1>hello</h1>")) as script,
        TelescopeClient(script.url) as client,
        pytest.raises(ServerError, match="is no Text Telescope"),
    ):
        client.recompose(picture(), [[0, 0, 64, 16]])


def test_retries_pause_even_if_retry_after_is_zero() -> None:
    with Script(*[(429, {"Retry-After": "0"}, "")] * 9) as script, pytest.raises(Overloaded):
        answers_from(script.url, timeout_s=0.6)
    assert len(script.asked_at) <= 3


def test_a_failure_cancels_all_tasks_of_the_asyncio_client() -> None:
    async def ask(url: str) -> None:
        async with AsyncTelescopeClient(url, max_images=1, concurrency=2) as client:
            with pytest.raises(ServerError):
                await client.super_resolve([png()] * 9)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with Script(*[(500, {}, "")] * 9) as script:
        asyncio.run(ask(script.url))
    assert len(script.asked_at) < 9
