"""A failure of the predictor on one image affects only that image."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.app.conftest import png
from tests.app.process import wait_until
from tests.app.raw import connect
from tests.reliability.conftest import Serve
from tests.reliability.faults import FAULTS, Fault, FaultyRuntime
from tests.reliability.swarm import ask, ask_all, assert_recovered, assert_settled, tagged

pytestmark = pytest.mark.slow
POISONED = 250  # the colour of this tag triggers the fault


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_image_spares_its_batch(serve: Serve, fault: Fault) -> None:
    runtime = FaultyRuntime()
    server = serve(runtime)
    runtime.fault = fault
    runtime.gate.clear()  # so that the image shares its batch
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asyncio.run, ask_all(server.url, range(240, 256), at_once=16))
        wait_until(lambda: server.metric("telescope_admitted_windows") == 16)
        runtime.gate.set()
        assert asked.result() == {"right": 15, "inference_failed": 1}
    assert asyncio.run(ask(server.url, POISONED)) == "inference_failed"
    assert_settled(server)
    runtime.fault = None
    assert asyncio.run(ask(server.url, POISONED)) == "right"
    assert_recovered(server)


@pytest.mark.parametrize("fits", [1, 3, 8])
def test_running_out_of_memory_loses_no_response(serve: Serve, fits: int) -> None:
    runtime = FaultyRuntime()
    server = serve(runtime)
    runtime.out_of_memory_from = fits + 1
    runtime.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asyncio.run, ask_all(server.url, range(64), at_once=64))
        wait_until(lambda: server.metric("telescope_admitted_windows") == 64)
        runtime.gate.set()
        assert asked.result() == {"right": 64}
    ran = len(runtime.batches)
    assert_recovered(server)
    assert max(runtime.batches[ran:]) <= fits, "a batch size that did not fit was tried again at once"


def test_the_service_recovers_after_running_out_of_memory_on_single_images(serve: Serve) -> None:
    runtime = FaultyRuntime()
    server = serve(runtime, batch_sizes=(1, 2))
    runtime.out_of_memory_from = 1
    assert asyncio.run(ask_all(server.url, range(8), at_once=8)) == {"out_of_memory": 8}
    assert_settled(server)
    runtime.out_of_memory_from = 10**9
    assert_recovered(server)


def test_results_of_a_hung_batch_reach_no_later_request(serve: Serve) -> None:
    runtime = FaultyRuntime()
    server = serve(runtime, hang_timeout_s=3)  # no batch takes so long by itself, even on a busy machine
    runtime.inside.clear()
    runtime.gate.clear()
    with connect(server) as client:
        client.sendall(tagged(999))
        assert runtime.inside.wait(30)
    late = asyncio.run(ask_all(server.url, range(16), at_once=16, headers="X-Request-Timeout-Ms: 200\r\n"))
    assert set(late) <= {"deadline_exceeded", "not_ready"}
    wait_until(lambda: server.client.get("/readyz").status_code == 503, 30)
    assert asyncio.run(ask(server.url, 1)) == "not_ready"
    assert_settled(server)  # while it still hangs, no request waits for it
    runtime.gate.set()
    wait_until(lambda: server.client.get("/readyz").status_code == 200, 30)
    assert_recovered(server, requests=64)


def test_a_request_of_many_images_gets_each_result_in_its_place_though_one_fails(serve: Serve) -> None:
    runtime = FaultyRuntime()
    server = serve(runtime)
    runtime.fault = FAULTS[0]
    body = server.post(*(png((tag, 0, 77)) for tag in range(200, 256))).json()
    failed = [entry["index"] for entry in body["images"] if entry["outcome"] != "ok"]
    assert failed == [POISONED - 200]
    assert_settled(server)
