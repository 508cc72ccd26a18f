"""The clients of `sockets.py`, each with a picture of its own colour, for services that repeat pixels."""

import asyncio
from collections import Counter
from collections.abc import Iterable

import httpx

from tests.app.conftest import Server, assert_reconciled, picture, png
from tests.app.process import wait_until
from tests.reliability import sockets
from tests.reliability.sockets import RESET, Asked, exchange, post

__all__ = ["RESET", "exchange", "post"]
GAUGES = ("queue_windows", "admitted_windows", "admitted_bytes", "body_bytes", "requests_in_progress")


def colour(tag: int) -> tuple[int, int, int]:
    return tag % 256, tag // 256 % 256, 77


def tagged(tag: int, *, headers: str = "") -> bytes:
    return post(png(colour(tag)), headers=headers)


async def ask(url: str, tag: int, *, headers: str = "") -> str:
    return (await ask_all(url, [tag], at_once=1, headers=headers)).popitem()[0]


async def ask_all(url: str, tags: Iterable[int], *, at_once: int, headers: str = "") -> Counter[str]:
    """One request for each tag, from `at_once` clients, each with one request at a time."""
    asked = (Asked(tagged(tag, headers=headers), picture(colour(tag), height=32, width=128)) for tag in tags)
    return await sockets.ask_all(url, asked, at_once=at_once)


async def storm(url: str, clients: int) -> None:
    await sockets.storm(url, tagged(0), clients)


def activate(url: str, ref: str, key: str) -> int:
    """Switch to another version; return the status of the response."""
    return httpx.post(f"{url}/v1/models/{ref}/activate", headers={"X-API-Key": key}, timeout=60).status_code


def assert_settled(server: Server) -> None:
    """No request is in progress, nothing is held in memory, and every received request has one counted outcome."""
    for gauge in GAUGES:
        wait_until(lambda name=f"telescope_{gauge}": server.metric(name) == 0, 30)  # type: ignore[misc]
    assert_reconciled(server)


def assert_recovered(server: Server, *, requests: int = 32) -> None:
    """The service gives every client the right response, and holds nothing afterwards."""
    endings = asyncio.run(ask_all(server.url, range(requests), at_once=16))
    assert endings == {"right": requests}
    assert_settled(server)
