"""The Python client against real servers on loopback sockets."""

import asyncio
import io
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from text_telescope import (
    Answer,
    AsyncTelescopeClient,
    BadImage,
    BadRequest,
    Overloaded,
    Problem,
    TelescopeClient,
    TelescopeError,
    TimedOut,
    TooLarge,
    Unreachable,
)
from text_telescope.exchange import PART_OVERHEAD_BYTES, split

from app.imaging.encode import encode
from model_store.pixels import Rgb
from tests.app.conftest import Server, picture, png
from tests.app.imaging.test_quality_gate import HELPS_BLURRED, written
from tests.app.process import wait_until
from tests.conftest import REPOSITORY


@pytest.fixture
def client(server: Server) -> Iterator[TelescopeClient]:
    with TelescopeClient(server.url) as one:
        yield one


def coloured(count: int) -> list[Rgb]:
    """Distinct crops of several sizes."""
    return [picture((i, 255 - i, (37 * i) % 256), height=12 + i % 5, width=50 + 3 * (i % 7)) for i in range(count)]


def are_results_of(results: Any, crops: list[Rgb]) -> bool:
    """Whether every result, of any kind, belongs to its crop, at twice the size."""
    return len(results) == len(crops) and all(
        np.shape(result) == (2 * crop.shape[0], 2 * crop.shape[1], 3)
        and np.abs(np.asarray(result) - crop[0, 0].astype(int)).max() <= 1
        for result, crop in zip(results, crops, strict=True)
    )


CROP = picture((90, 90, 90))
PIL = Image.fromarray(CROP)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (CROP, np.ndarray),
        (CROP[:, :, 0], np.ndarray),
        (PIL, Image.Image),
        (PIL.convert("CMYK"), Image.Image),
        (Path("crop.png"), Answer),
        ("crop.png", Answer),
        (encode(CROP, "png"), Answer),
        (io.BytesIO(encode(CROP, "png")), Answer),
    ],
)
def test_the_same_kind_comes_back_as_went_in(
    server: Server, given: Any, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("crop.png").write_bytes(encode(CROP, "png"))
    whole = [[0, 0, 64, 16]]

    async def ask() -> list[Any]:
        async with AsyncTelescopeClient(server.url) as client:
            several = await client.super_resolve([given, given])
            regions = await client.regions(given, whole)
            return [await client.super_resolve(given), *several, *regions, await client.recompose(given, whole)]

    with TelescopeClient(server.url) as client:
        several = client.super_resolve([given, given])
        regions = client.regions(given, whole)
        results = [client.super_resolve(given), *several, *regions, client.recompose(given, whole)]
    results += asyncio.run(ask())
    assert {isinstance(result, kind) for result in results} == {True}
    assert are_results_of(results, [CROP] * 10)


def test_the_kinds_of_one_list_are_kept_apart(client: TelescopeClient) -> None:
    array, image, answer = client.super_resolve([CROP, PIL, encode(CROP, "png")])
    assert are_results_of([array, image, answer], [CROP] * 3)
    assert (type(array), image.mode, answer.media_type) == (np.ndarray, "RGB", "image/png")
    array[:] = 0  # it is the caller's own


def test_an_answer_is_saved_and_shown_and_read_as_an_image_or_an_array(
    client: TelescopeClient, tmp_path: Path
) -> None:
    answer = client.super_resolve(encode(picture((10, 20, 200)), "png"))
    answer.save(tmp_path / "sharp.png")
    with Image.open(tmp_path / "sharp.png") as saved:
        assert saved.size == answer.pil().size == (128, 32)
    assert np.asarray(answer, np.float32)[0, 0].tolist() == [10, 20, 200]
    assert answer.array("bgr")[0, 0].tolist() == [200, 20, 10]
    assert len(repr(answer)) < 200


def test_keep_gives_a_single_picture_back_too(client: TelescopeClient) -> None:
    small = picture(height=2)
    assert client.super_resolve(small, errors="keep") is small
    assert are_results_of([client.super_resolve(CROP, errors="keep")], [CROP])


def test_bgr_arrays_come_back_as_bgr(server: Server) -> None:
    bgr = picture((10, 20, 200))
    with TelescopeClient(server.url, channels="bgr") as client:
        assert are_results_of([client.super_resolve(bgr)], [bgr])
        (answer,) = client.answers([bgr])
        assert isinstance(answer, Answer)
        assert answer.array()[0, 0].tolist() == [200, 20, 10]


def test_an_object_that_is_no_picture_raises_a_type_error_that_names_its_type(client: TelescopeClient) -> None:
    with pytest.raises(TypeError, match=r"float64 \(4, 4\)"):
        client.super_resolve(np.zeros((4, 4)))
    with pytest.raises(TypeError, match=r"uint8 \(2, 16, 64, 3\)"):
        client.super_resolve(np.stack([picture(), picture()]))
    with pytest.raises(TypeError, match="A NoneType is no picture"):
        client.super_resolve([None])  # type: ignore[list-item]


def test_two_hundred_crops_are_split_into_requests_and_come_back_in_order(server: Server) -> None:
    crops = coloured(200)
    before = server.metric("telescope_requests_received_total")
    with TelescopeClient(server.url, max_images=16, concurrency=4) as client:
        assert are_results_of(client.super_resolve(crops), crops)
    assert server.metric("telescope_requests_received_total") - before == 13  # ceil(200 / 16)


def test_threads_may_share_a_client_without_mixing_results(server: Server) -> None:
    crops = coloured(200)
    with TelescopeClient(server.url, max_images=8) as client, ThreadPoolExecutor(8) as pool:
        shares = list(pool.map(client.super_resolve, [crops[i::8] for i in range(8)]))
    for i, share in enumerate(shares):
        assert are_results_of(share, crops[i::8])


def test_asyncio_runs_calls_concurrently_without_mixing_results(server: Server) -> None:
    crops = coloured(200)

    async def shares() -> list[list[Rgb]]:
        async with AsyncTelescopeClient(server.url, max_images=8) as client:
            return await asyncio.gather(*(client.super_resolve(crops[i::5]) for i in range(5)))

    for i, share in enumerate(asyncio.run(shares())):
        assert are_results_of(share, crops[i::5])


def test_concurrency_bounds_the_simultaneous_requests(start_server: Callable[..., Server]) -> None:
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
        assert are_results_of(answers.result(), crops)


@pytest.mark.parametrize("limit", [{"max_images": 5}, {"max_request_bytes": 2048}])
def test_requests_are_halved_if_the_service_has_smaller_limits(
    start_server: Callable[..., Server], limit: dict[str, int]
) -> None:
    crops = coloured(33)
    with TelescopeClient(start_server(**limit).url) as client:
        assert are_results_of(client.super_resolve(crops), crops)


def test_parts_respect_the_limits_of_images_and_bytes() -> None:
    images = [b"x" * n for n in (100, 100, 100, 5000, 100, 100)]
    parts = list(split(images, max_images=2, max_bytes=1000 + PART_OVERHEAD_BYTES))
    assert [[len(image) for image in part] for part in parts] == [[100, 100], [100], [5000], [100, 100]]
    assert list(split([], max_images=2, max_bytes=1000)) == []


def test_a_bad_image_is_raised_returned_or_kept_and_spares_its_neighbours(
    client: TelescopeClient, tmp_path: Path
) -> None:
    good, small = picture(), picture(height=2)
    with pytest.raises(BadImage, match=r"^Image 1: The image is 64 x 2 pixels") as told:
        client.super_resolve([good, small, good])
    assert (told.value.index, told.value.problem.status, told.value.problem.code) == (1, 422, "image_too_small")

    first, missing, text, empty, last = client.super_resolve(
        [good, tmp_path / "nowhere.png", b"no picture", good[:0], good], errors="return"
    )
    assert are_results_of([first, last], [good, good])
    codes = [one.problem.code for one in (missing, text, empty) if isinstance(one, BadImage)]
    assert codes == ["unreadable_file", "undecodable_image", "empty_body"]

    kept = client.super_resolve([good, small], errors="keep")
    assert are_results_of(kept[:1], [good])
    assert kept[1] is small


def test_keep_returns_merely_enlarged_crops_unchanged(
    start_server: Callable[..., Server],
) -> None:
    soft, sharp = written(sigma=3, height=40), written(height=60)
    with TelescopeClient(start_server(gate=HELPS_BLURRED).url) as client:
        assert [len(crop) for crop in client.super_resolve([soft, sharp])] == [80, 120]
        better, kept = client.super_resolve([soft, sharp], errors="keep")
    assert len(better) == 80
    assert kept is sharp


def test_an_image_that_is_too_large_spares_the_rest(start_server: Callable[..., Server]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with TelescopeClient(start_server(max_request_bytes=4096).url) as client:
        first, large, last = client.answers([png(), noise, png()])
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert isinstance(large, BadImage)
    assert (large.index, large.problem.code) == (1, "too_many_bytes")


def test_answers_hold_the_file_in_the_requested_format(client: TelescopeClient) -> None:
    (answer,) = client.answers([png(height=40)], format="webp", geometry="telescope")
    assert isinstance(answer, Answer)
    assert answer.media_type == "image/webp"
    assert answer.data.startswith(b"RIFF")
    assert answer.pil().size == (128, 32)


def test_an_invalid_parameter_is_a_bad_request_with_the_message_of_the_service(client: TelescopeClient) -> None:
    with pytest.raises(BadRequest, match="'other' is not served here") as told:
        client.super_resolve(png(), model="other")
    assert told.value.problem
    assert told.value.problem.code == "unknown_model"


def cells() -> tuple[Rgb, list[Rgb], list[list[int]]]:
    """A page of 10 x 3 cells, what is in each, and their boxes, shuffled."""
    crops = [picture((8 * i, 255 - 8 * i, i)) for i in range(30)]
    page = np.vstack([np.hstack(crops[3 * row : 3 * row + 3]) for row in range(10)])
    boxes = [[64 * (i % 3), 16 * (i // 3), 64 * (i % 3) + 64, 16 * (i // 3) + 16] for i in range(30)]
    order = np.random.default_rng(0).permutation(30)
    return page, [crops[i] for i in order], [boxes[i] for i in order]


@pytest.mark.parametrize("kind", [list, np.array, lambda boxes: [np.float32(box) for box in boxes]])
def test_regions_of_a_page_come_back_in_order(client: TelescopeClient, kind: Callable[..., list[object]]) -> None:
    page, crops, boxes = cells()
    assert are_results_of(client.regions(page, kind(boxes)), crops)
    quads = [[[x0, y0], [x1, y0], [x1, y1], [x0, y1]] for x0, y0, x1, y1 in boxes]
    assert are_results_of(client.regions(Image.fromarray(page), kind(quads)), crops)
    relative = np.array(boxes) / [192, 160, 192, 160]
    assert are_results_of(client.regions(page, relative, units="relative"), crops)


def test_one_bad_region_spares_the_rest(client: TelescopeClient) -> None:
    page, crops, boxes = cells()
    bad: list[Any] = [[900, 900, 960, 920], None, [], [[0, 0], [9, None], [9, 9], [0, 9]], "text"]
    bad += [np.array([0, 0, np.nan, 16]), (0, 0, float("inf"), 16), np.array([1.0, None], dtype=object)]
    first, *failed, last = client.regions(page, [boxes[0], *bad, boxes[1]], errors="return")
    assert are_results_of([first, last], crops[:2])
    for index, outside in enumerate(failed, 1):
        assert isinstance(outside, BadImage)
        assert (outside.index, outside.problem.status) == (index, 422)
    with pytest.raises(BadImage, match=r"^Image 1: "):
        client.regions(page, [boxes[0], [900, 900, 960, 920]])
    assert client.recompose(page, [boxes[0], *bad]).shape == (320, 384, 3)


def test_polygons_of_any_number_of_points_are_regions(client: TelescopeClient) -> None:
    page, crops, boxes = cells()
    x0, y0, x1, y1 = boxes[0]
    six = [(x0, y0), ((x0 + x1) / 2, y0), (x1, y0), (x1, y1), ((x0 + x1) / 2, y1), (x0, y1)]
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.array(six, np.float32), boxes[1]]
    for polygons in ([six, boxes[1]], ragged, (region for region in (np.array(six), tuple(boxes[1])))):
        assert are_results_of(client.regions(page, polygons), crops[:2])


def test_an_object_that_is_no_region_raises_a_type_error_that_names_its_type(client: TelescopeClient) -> None:
    with pytest.raises(TypeError, match=r"A dict is no region; give its corners as \[\[x, y\]"):
        client.regions(picture(), [{"box": [0, 0, 64, 16]}])
    with pytest.raises(TypeError, match="Regions must be a list or an array, and not a str"):
        client.recompose(picture(), "[[0, 0, 64, 16]]")


def test_a_page_comes_back_with_its_regions_in_their_places(server: Server) -> None:
    page, _, boxes = cells()
    with TelescopeClient(server.url, channels="bgr") as client:
        answer = client.recompose(page, boxes)
    assert answer.shape == (320, 384, 3)
    assert np.abs(answer[16::32, 64::128] - page[8::16, 32::64].astype(int)).max() <= 1


def test_too_many_regions_for_one_request_are_sent_in_several(start_server: Callable[..., Server]) -> None:
    page, crops, boxes = cells()
    server = start_server(max_regions=8)
    with TelescopeClient(server.url) as client:
        assert are_results_of(client.regions(page, boxes), crops)
        with pytest.raises(TooLarge, match="30 regions; at most 8"):
            client.recompose(page, boxes)


def test_a_page_that_is_too_large_is_not_retried_in_parts(start_server: Callable[..., Server]) -> None:
    page, _, boxes = cells()
    server = start_server(max_page_pixels=10_000)
    with TelescopeClient(server.url) as client, pytest.raises(TooLarge, match="192 x 160 pixels"):
        client.regions(page, boxes)
    assert server.metric("telescope_requests_received_total") == 1


NO_REGIONS: tuple[Any, ...] = (None, [], np.zeros((0, 4, 2)))


def test_a_page_without_regions_comes_back_enlarged(client: TelescopeClient) -> None:
    page = picture(height=40)
    for none in NO_REGIONS:
        assert are_results_of([client.recompose(page, none)], [page])


def test_a_page_without_regions_or_without_a_file_sends_no_request(
    client: TelescopeClient, server: Server, tmp_path: Path
) -> None:
    before = server.metric("telescope_requests_received_total")
    for none in NO_REGIONS:
        assert client.regions(picture(), none) == []
    with pytest.raises(BadImage, match=r"nowhere\.png"):
        client.regions(tmp_path / "nowhere.png", [[0, 0, 64, 16]])
    assert server.metric("telescope_requests_received_total") == before


def test_asyncio_handles_pages(server: Server) -> None:
    page, crops, boxes = cells()

    async def ask() -> tuple[list[Rgb], Rgb]:
        async with AsyncTelescopeClient(server.url) as client:
            assert await client.regions(page, None) == []
            return await asyncio.gather(client.regions(page, boxes), client.recompose(page, boxes))

    answers, recomposed = asyncio.run(ask())
    assert are_results_of(answers, crops)
    assert recomposed.shape == (320, 384, 3)


def test_no_images_send_no_request(client: TelescopeClient, server: Server) -> None:
    before = server.metric("telescope_requests_received_total")
    assert client.super_resolve([]) == []
    assert server.metric("telescope_requests_received_total") == before


def test_a_full_service_is_retried_after_the_time_it_named(start_server: Callable[..., Server]) -> None:
    server = start_server(max_images=2, max_queue_windows=2)
    server.runtime.gate.clear()
    with ThreadPoolExecutor(2) as pool, TelescopeClient(server.url) as client:
        held = pool.submit(server.post, png(), png())
        wait_until(lambda: server.metric("telescope_admitted_windows") == 2)
        answer = pool.submit(client.super_resolve, picture())
        wait_until(lambda: server.metric("telescope_requests_total", outcome="refused") == 1)
        server.runtime.gate.set()
        assert are_results_of([answer.result()], [picture()])
        assert held.result().status_code == 200


def test_a_service_that_stays_full_raises_overloaded_without_a_useless_wait(
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


def test_the_timeout_is_sent_as_the_deadline(start_server: Callable[..., Server]) -> None:
    server = start_server()
    server.runtime.gate.clear()
    with TelescopeClient(server.url, timeout_s=0.2) as client, pytest.raises(TelescopeError) as told:
        client.super_resolve(picture())
    assert isinstance(told.value, TimedOut) or told.value.problem.code == "deadline_exceeded"  # type: ignore[union-attr]
    wait_until(lambda: server.metric("telescope_admitted_windows") == 0)


def test_both_clients_name_an_unreachable_service_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    async def ask() -> None:
        async with AsyncTelescopeClient(url) as client:
            await client.super_resolve([picture()] * 200)

    with TelescopeClient(url) as client, pytest.raises(Unreachable, match=rf"reached at {url}: .*refused"):
        client.super_resolve([picture()] * 200)
    with pytest.raises(Unreachable, match="cannot be reached"):
        asyncio.run(ask())
    for address in ("localhost:8000", "http://[::1", "http://localhost:8000/v1/super-resolve", Path("host")):
        with pytest.raises(Unreachable, match=r"The address"):
            TelescopeClient(address)  # type: ignore[arg-type]


def test_https_to_a_service_without_it_is_told_so(server: Server) -> None:
    with (
        TelescopeClient(server.url.replace("http://", "https://")) as client,
        pytest.raises(Unreachable, match=r"it does not speak https; try http://\.$"),
    ):
        client.super_resolve(CROP)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"timeout_s": float("inf")}, "timeout_s is inf"),
        ({"concurrency": 0}, "at least 1"),
        ({"max_images": 0}, "at least 1"),
        ({"channels": "rbg"}, "channels is 'rbg'; it must be 'rgb' or 'bgr'"),
    ],
)
def test_an_argument_that_no_request_could_use_is_refused_at_once(options: dict[str, Any], told: str) -> None:
    for kind in (TelescopeClient, AsyncTelescopeClient):
        with pytest.raises(ValueError, match=told):
            kind(**options)


def test_a_mistyped_errors_is_refused_before_anything_is_sent() -> None:
    async def ask() -> None:
        async with AsyncTelescopeClient() as client:
            await client.super_resolve(CROP, errors="ignore")  # type: ignore[call-overload]

    with TelescopeClient() as client:
        with pytest.raises(ValueError, match="errors is 'ignore'; it must be 'raise' or 'return' or 'keep'"):
            client.super_resolve(CROP, errors="ignore")  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="errors is 'keep'; it must be 'raise' or 'return'"):
            client.regions(CROP, [], errors="keep")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="errors is 'ignore'"):
        asyncio.run(ask())


def test_an_error_reaches_another_process_and_a_client_does_not() -> None:
    error = pickle.loads(pickle.dumps(BadImage(3, Problem(400, "undecodable_image", "It is damaged."))))
    assert (error.index, error.problem.code, str(error)) == (3, "undecodable_image", "Image 3: It is damaged.")
    with TelescopeClient() as client, pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(client)


def test_an_asyncio_client_is_refused_in_a_second_event_loop(server: Server) -> None:
    client = AsyncTelescopeClient(server.url)

    async def ask(*, last: bool = False) -> None:
        await client.super_resolve(CROP)
        if last:
            await client.close()

    with asyncio.Runner() as runner:
        runner.run(ask())
        with pytest.raises(RuntimeError, match="works in one event loop"):
            asyncio.run(ask())
        runner.run(ask(last=True))


def test_ctrl_c_ends_a_waiting_call_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from text_telescope import TelescopeClient
TelescopeClient("http://127.0.0.1:{silent.getsockname()[1]}").super_resolve(b"a picture")
"""
        waiting = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
        with silent.accept()[0] as connection:
            connection.recv(1)  # the request is being sent
            time.sleep(0.5)  # and the client waits: Python may lose a signal just before a wait
            waiting.send_signal(signal.SIGINT)
            try:
                assert waiting.wait(timeout=20) != 0  # and not after 60 s
            finally:
                waiting.kill()
                waiting.wait()


def test_importing_the_client_loads_neither_server_code_nor_pillow_nor_numpy() -> None:
    heavy = {
        "PIL",
        "numpy",
        "fastapi",
        "starlette",
        "pydantic",
        "uvicorn",
        "cv2",
        "prometheus_client",
        "app.serving.model_service",
        "app.settings",
    }
    code = f"import sys, text_telescope; print(*({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
