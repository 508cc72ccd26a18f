"""Damaged, malicious and unusual pictures get a result or a documented error, never a 500."""

import asyncio
import json
import warnings
from collections.abc import Iterator

import pytest

from tests.reliability.conftest import Serve
from tests.reliability.corpus import mutants, seeds
from tests.reliability.fuzz import read_all
from tests.reliability.swarm import assert_recovered, exchange, post

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def warnings_are_no_errors() -> Iterator[None]:
    """As in the service, warnings of Pillow about a picture are no errors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def test_a_damaged_picture_is_read_or_refused_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    fuzzed = read_all(mutants(seed=0, inputs=1000))
    assert not fuzzed.escaped
    assert not capfd.readouterr().err, "a library prints between the lines of the log"
    assert fuzzed.inputs == 1000
    assert fuzzed.outcomes["read"] > 100, "the mutations damage nearly all pictures"
    assert len(fuzzed.outcomes) >= 4
    assert fuzzed.slowest_s < 2


def test_the_mutations_are_the_same_for_the_same_seed() -> None:
    assert list(mutants(seed=3, inputs=100)) == list(mutants(seed=3, inputs=100))
    assert list(mutants(seed=3, inputs=100)) != list(mutants(seed=4, inputs=100))


@pytest.mark.parametrize("name", [name for name in seeds() if "bomb" in name or "of frames" in name])
def test_a_decompression_bomb_is_refused_or_read_quickly(name: str) -> None:
    fuzzed = read_all([seeds()[name]])
    assert not fuzzed.escaped
    assert fuzzed.slowest_s < 0.5


def test_the_service_survives_damaged_pictures(serve: Serve) -> None:
    server = serve()

    async def all_of_them() -> list[bytes]:
        return [await exchange(server.url, post(data)) for data in mutants(seed=1, inputs=200)]

    responses = asyncio.run(all_of_them())
    for response in responses:
        head, _, body = response.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        assert status == 200 or (400 <= status < 500 and json.loads(body)["code"]), head
    assert_recovered(server)
