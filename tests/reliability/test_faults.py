"""A predictor that fails harms the image it fails on, and no other."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.app.conftest import png, wait_until
from tests.app.raw import connect
from tests.reliability.conftest import Serve
from tests.reliability.faults import FAULTS, Fault, FaultyRuntime
from tests.reliability.swarm import ask, ask_all, assert_recovered, assert_settled, tagged

pytestmark = pytest.mark.reliability
POISONED = 250  # this tag's colour is the poison


@pytest.mark.parametrize("fault", FAULTS)
def test_an_image_that_the_predictor_fails_on_fails_alone(serve: Serve, fault: Fault) -> None:
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
def test_running_out_of_memory_costs_time_and_no_answer(serve: Serve, fits: int) -> None:
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
    assert max(runtime.batches[ran:]) <= fits, "the size that has no room was tried again at once"


def test_a_predictor_out_of_memory_on_one_image_fails_it_and_lives(serve: Serve) -> None:
    runtime = FaultyRuntime()
    server = serve(runtime, batch_sizes=(1, 2))
    runtime.out_of_memory_from = 1
    assert asyncio.run(ask_all(server.url, range(8), at_once=8)) == {"out_of_memory": 8}
    assert_settled(server)
    runtime.out_of_memory_from = 10**9
    assert_recovered(server)


def test_answers_of_a_predictor_that_hung_reach_none_of_those_who_ask_later(serve: Serve) -> None:
    runtime = FaultyRuntime()
    server = serve(runtime, hang_timeout_s=0.5)
    runtime.inside.clear()
    runtime.gate.clear()
    with connect(server) as client:
        client.sendall(tagged(999))
        assert runtime.inside.wait(30)
    late = asyncio.run(ask_all(server.url, range(16), at_once=16, headers="X-Request-Timeout-Ms: 200\r\n"))
    assert set(late) <= {"deadline_exceeded", "not_ready"}
    wait_until(lambda: server.client.get("/readyz").status_code == 503)
    assert asyncio.run(ask(server.url, 1)) == "not_ready"
    assert_settled(server)  # while it still hangs: nobody waits for it
    runtime.gate.set()
    wait_until(lambda: server.client.get("/readyz").status_code == 200)
    assert_recovered(server, questions=64)


def test_a_request_of_many_images_gets_each_answer_in_its_place_though_some_fail(serve: Serve) -> None:
    runtime = FaultyRuntime()
    server = serve(runtime)
    runtime.fault = FAULTS[0]
    body = server.post(*(png((tag, 0, 77)) for tag in range(200, 256))).json()
    failed = [entry["index"] for entry in body["images"] if entry["outcome"] != "ok"]
    assert failed == [POISONED - 200]
    assert_settled(server)
