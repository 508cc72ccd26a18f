"""The Python client against real servers on loopback sockets."""

import asyncio
import base64
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import codec
from app.client import (
    Answer,
    AsyncTelescopeClient,
    BadImage,
    BadRequest,
    Overloaded,
    ServerError,
    TelescopeClient,
    TelescopeError,
    TimedOut,
    Unreachable,
)
from app.client_exchange import PART_OVERHEAD_BYTES, split
from model_store.pixels import Rgb
from tests.app.conftest import Server, picture, png, wait_until
from tests.conftest import REPOSITORY


@pytest.fixture
def client(server: Server) -> Iterator[TelescopeClient]:
    with TelescopeClient(server.url) as one:
        yield one


def coloured(count: int) -> list[Rgb]:
    """Crops that no two of are alike, of several sizes."""
    return [picture((i, 255 - i, (37 * i) % 256), height=12 + i % 5, width=50 + 3 * (i % 7)) for i in range(count)]


def are_the_doubles_of(answers: list[Rgb], crops: list[Rgb]) -> bool:
    """Whether every answer is its own crop's, twice as large."""
    return len(answers) == len(crops) and all(
        answer.shape == (2 * crop.shape[0], 2 * crop.shape[1], 3)
        and np.abs(answer - crop[0, 0].astype(int)).max() <= 1
        for answer, crop in zip(answers, crops, strict=True)
    )


@pytest.mark.parametrize("kind", ["array", "grey", "pil", "path", "str", "bytes"])
def test_a_picture_of_every_kind_goes_in_and_an_array_comes_out(
    client: TelescopeClient, kind: str, tmp_path: Path
) -> None:
    crop = picture((90, 90, 90))
    file = tmp_path / "crop.png"
    file.write_bytes(codec.encode(crop, "png"))
    one = {
        "array": crop,
        "grey": crop[:, :, 0],
        "pil": Image.fromarray(crop).convert("CMYK"),
        "path": file,
        "str": str(file),
        "bytes": file.read_bytes(),
    }[kind]
    answer = client.super_resolve(one)
    assert answer.dtype == np.uint8
    assert are_the_doubles_of([answer], [crop])
    answer[:] = 0  # it is the caller's own
    assert are_the_doubles_of(client.super_resolve([one, one]), [crop, crop])


def test_arrays_of_opencv_keep_their_order_of_channels(server: Server) -> None:
    bgr = picture((10, 20, 200))
    with TelescopeClient(server.url, channels="bgr") as client:
        assert are_the_doubles_of([client.super_resolve(bgr)], [bgr])
        assert client.answers([bgr])[0].array()[0, 0].tolist() == [200, 20, 10]


def test_what_is_no_picture_is_a_type_error_that_says_what_it_is(client: TelescopeClient) -> None:
    with pytest.raises(TypeError, match=r"float64 \(4, 4\)"):
        client.super_resolve(np.zeros((4, 4)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"uint8 \(2, 16, 64, 3\)"):
        client.super_resolve(np.stack([picture(), picture()]))
    with pytest.raises(TypeError, match="A NoneType is no picture"):
        client.super_resolve([None])  # type: ignore[list-item]


def test_two_hundred_crops_are_split_into_requests_and_come_back_in_order(server: Server) -> None:
    crops = coloured(200)
    before = server.metric("telescope_requests_received_total")
    with TelescopeClient(server.url, max_images=16, concurrency=4) as client:
        assert are_the_doubles_of(client.super_resolve(crops), crops)
    assert server.metric("telescope_requests_received_total") - before == 13  # ceil(200 / 16)


def test_threads_may_share_a_client_without_mixing_answers(server: Server) -> None:
    crops = coloured(200)
    with TelescopeClient(server.url, max_images=8) as client, ThreadPoolExecutor(8) as pool:
        shares = list(pool.map(client.super_resolve, [crops[i::8] for i in range(8)]))
    for i, share in enumerate(shares):
        assert are_the_doubles_of(share, crops[i::8])


def test_asyncio_runs_calls_side_by_side_without_mixing_answers(server: Server) -> None:
    crops = coloured(200)

    async def shares() -> list[list[Rgb]]:
        async with AsyncTelescopeClient(server.url, max_images=8) as client:
            return await asyncio.gather(*(client.super_resolve(crops[i::5]) for i in range(5)))

    for i, share in enumerate(asyncio.run(shares())):
        assert are_the_doubles_of(share, crops[i::5])


def test_no_more_requests_are_under_way_than_allowed(start_server: Callable[..., Server]) -> None:
    server = start_server(max_images=1)
    server.runtime.gate.clear()
    crops = coloured(12)

    async def call() -> list[Rgb]:
        async with AsyncTelescopeClient(server.url, max_images=1, concurrency=3) as client:
            return await client.super_resolve(crops)

    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(asyncio.run, call())
        wait_until(lambda: server.metric("telescope_requests_in_progress") == 3)
        assert server.metric("telescope_requests_received_total") == 3
        server.runtime.gate.set()
        assert are_the_doubles_of(answers.result(), crops)


@pytest.mark.parametrize("limit", [{"max_images": 5}, {"max_request_bytes": 2048}])
def test_limits_smaller_than_the_clients_are_found_out(
    start_server: Callable[..., Server], limit: dict[str, int]
) -> None:
    crops = coloured(33)
    with TelescopeClient(start_server(**limit).url) as client:
        assert are_the_doubles_of(client.super_resolve(crops), crops)


def test_parts_hold_the_limits_of_images_and_bytes() -> None:
    images = [b"x" * n for n in (100, 100, 100, 5000, 100, 100)]
    parts = list(split(images, max_images=2, max_bytes=1000 + PART_OVERHEAD_BYTES))
    assert [[len(image) for image in part] for part in parts] == [[100, 100], [100], [5000], [100, 100]]
    assert list(split([], max_images=2, max_bytes=1000)) == []


def test_one_bad_image_is_raised_returned_or_kept_and_never_its_neighbours(
    client: TelescopeClient, tmp_path: Path
) -> None:
    good, small = picture(), picture(height=2)
    with pytest.raises(BadImage, match=r"^Image 1: The image is 64 x 2 pixels") as told:
        client.super_resolve([good, small, good])
    assert (told.value.index, told.value.problem.status, told.value.problem.code) == (1, 422, "image_too_small")

    first, missing, text, empty, last = client.super_resolve(
        [good, tmp_path / "nowhere.png", b"no picture", good[:0], good], errors="return"
    )
    assert are_the_doubles_of([first, last], [good, good])  # type: ignore[list-item]
    codes = [one.problem.code for one in (missing, text, empty) if isinstance(one, BadImage)]
    assert codes == ["unreadable_file", "undecodable_image", "empty_body"]

    kept = client.super_resolve([good, small], errors="keep")
    assert are_the_doubles_of(kept[:1], [good])
    assert kept[1] is small


def test_an_image_that_alone_is_too_large_spares_the_others(start_server: Callable[..., Server]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with TelescopeClient(start_server(max_request_bytes=4096).url) as client:
        first, large, last = client.answers([png(), noise, png()])
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert isinstance(large, BadImage)
    assert (large.index, large.problem.code) == (1, "too_many_bytes")


def test_answers_carry_the_file_in_the_format_asked_for(client: TelescopeClient) -> None:
    (answer,) = client.answers([png(height=40)], format="webp", geometry="telescope")
    assert isinstance(answer, Answer)
    assert answer.media_type == "image/webp"
    assert answer.data.startswith(b"RIFF")
    assert answer.pil().size == (128, 32)


def test_a_wish_that_cannot_be_met_is_a_bad_request_with_the_services_words(client: TelescopeClient) -> None:
    with pytest.raises(BadRequest, match="'other' is not served here") as told:
        client.super_resolve(png(), model="other")
    assert told.value.problem
    assert told.value.problem.code == "unknown_model"


def test_nothing_asked_is_nothing_sent(client: TelescopeClient, server: Server) -> None:
    before = server.metric("telescope_requests_received_total")
    assert client.super_resolve([]) == []
    assert server.metric("telescope_requests_received_total") == before


def test_a_full_service_is_asked_again_after_the_time_it_named(start_server: Callable[..., Server]) -> None:
    server = start_server(max_images=2, max_queue_windows=2)
    server.runtime.gate.clear()
    with ThreadPoolExecutor(2) as pool, TelescopeClient(server.url) as client:
        held = pool.submit(server.post, png(), png())
        wait_until(lambda: server.metric("telescope_admitted_windows") == 2)
        answer = pool.submit(client.super_resolve, picture())
        wait_until(lambda: server.metric("telescope_requests_total", outcome="refused") == 1)
        server.runtime.gate.set()
        assert are_the_doubles_of([answer.result()], [picture()])
        assert held.result().status_code == 200


def test_a_service_that_stays_full_is_overloaded_and_not_waited_for_in_vain(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(max_images=1, max_queue_windows=1)
    server.runtime.gate.clear()
    with ThreadPoolExecutor(1) as pool, TelescopeClient(server.url, timeout_s=0.9) as client:
        held = pool.submit(server.post, png())
        wait_until(lambda: server.metric("telescope_admitted_windows") == 1)
        with pytest.raises(Overloaded, match="full") as told:  # the service says 1 s at least
            client.super_resolve(picture())
        server.runtime.gate.set()
        held.result()
    assert told.value.problem
    assert told.value.problem.code == "overloaded"
    assert server.metric("telescope_requests_total", outcome="refused") == 1


def test_the_time_given_is_the_services_deadline_too(start_server: Callable[..., Server]) -> None:
    server = start_server()
    server.runtime.gate.clear()
    with TelescopeClient(server.url, timeout_s=0.2) as client, pytest.raises(TelescopeError) as told:
        client.super_resolve(picture())
    assert isinstance(told.value, TimedOut) or told.value.problem.code == "deadline_exceeded"  # type: ignore[union-attr]
    wait_until(lambda: server.metric("telescope_admitted_windows") == 0)


def test_a_service_that_is_gone_is_told_in_a_sentence_by_both_clients() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    async def ask() -> None:
        async with AsyncTelescopeClient(url) as client:
            await client.super_resolve([picture()] * 200)

    with TelescopeClient(url) as client, pytest.raises(Unreachable, match=r"cannot be reached: .*refused"):
        client.super_resolve([picture()] * 200)
    with pytest.raises(Unreachable, match="cannot be reached"):
        asyncio.run(ask())
    for address in ("localhost:8000", "http://[::1"):
        with pytest.raises(Unreachable, match=r"The address"):
            TelescopeClient(address)


class Script:
    """A server that answers as written, one reply a request; None breaks the connection off."""

    def __init__(self, *replies: tuple[int, dict[str, str], str] | None) -> None:
        script, self.asked_at = iter(replies), (asked_at := [])

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


def told(*images: object) -> tuple[int, dict[str, str], str]:
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


def test_it_never_comes_back_before_the_time_named() -> None:
    with Script((429, {"Retry-After": "1"}, ""), (503, {}, "from a proxy"), told(DONE)) as script:
        (answer,) = answers_from(script.url)
    assert isinstance(answer, Answer)
    assert (answer.method, answer.reason) == ("enlarged", "sharp already")
    first, second, third = script.asked_at
    assert 1 <= second - first < 3
    assert third - second >= 0.25  # its own pause, where none is named


def test_a_connection_that_breaks_is_tried_again_and_not_for_ever() -> None:
    with Script(None, None, told(DONE)) as script:
        assert isinstance(answers_from(script.url)[0], Answer)
    with Script(None, None, None) as script, pytest.raises(Unreachable, match="disconnected"):
        answers_from(script.url)
    assert len(script.asked_at) == 3


def test_only_images_that_a_leaving_replica_dropped_are_sent_again() -> None:
    gone = failed(503, "not_ready")
    with Script(told(DONE, gone, failed(400, "undecodable_image")), told(gone), told(DONE)) as script:
        first, second, third = answers_from(script.url, 3)
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert isinstance(third, BadImage)
    with Script(told(gone)) as script:
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
        (told({**DONE, "data": "no base64!"}), ServerError, "is no Text Telescope"),
        (told(DONE, DONE), ServerError, "2 images of 1"),
        ((504, {}, ""), TimedOut, "Status 504"),
        ((413, {}, "from a proxy"), BadImage, "Status 413"),
    ],
)
def test_every_other_answer_has_its_error(
    reply: tuple[int, dict[str, str], str], error: type[TelescopeError], words: str
) -> None:
    with Script(reply) as script, TelescopeClient(script.url) as client, pytest.raises(error, match=words):
        client.super_resolve(png())


def test_after_a_failure_asyncio_leaves_nothing_running() -> None:
    async def ask(url: str) -> None:
        async with AsyncTelescopeClient(url, max_images=1, concurrency=2) as client:
            with pytest.raises(ServerError):
                await client.super_resolve([png()] * 9)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with Script(*[(500, {}, "")] * 9) as script:
        asyncio.run(ask(script.url))
    assert len(script.asked_at) < 9


def test_the_client_imports_nothing_of_the_server() -> None:
    heavy = {
        "fastapi",
        "starlette",
        "pydantic",
        "uvicorn",
        "cv2",
        "prometheus_client",
        "app.service",
        "app.settings",
    }
    code = f"import sys, app.client; print(*({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
