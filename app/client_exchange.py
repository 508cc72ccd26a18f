"""The client's half of the protocol, without input or output: encoded images -> requests -> answers.

    encode every picture -> split to the limits -> for each part an exchange -> decode

An exchange is a generator. It yields a request to send or the seconds to wait, is sent the response or the
transport's error, and returns one entry an image. Who drives it, threads or an event loop, is `app/client.py`.

TelescopeError
├── BadImage       one image has no answer: its index and the problem
├── BadRequest     the request as a whole cannot be answered: an unknown model, a bad parameter
├── Overloaded     429 or 503, and the time was too short to come back
├── TimedOut       no answer within `timeout_s`
├── Unreachable    no connection, or it broke, several times
└── ServerError    the service failed, or something else answered in its place
"""

import base64
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from typing import Any

import httpx
import numpy as np
from PIL import Image

from model_store.pixels import Rgb

TRIES = 3  # to connect; a server that is not there is told in a second, not after the whole time
BACKOFF_S = 0.25  # doubled at each try when the server does not say when to come back
JITTER = 0.25  # of the wait, added: those refused together shall not come back together
CONNECT_S = 5.0
PART_OVERHEAD_BYTES = 256  # a multipart boundary and its headers, generously


@dataclass(frozen=True)
class Problem:
    """What the service says of a failure. status: 0 for one found before anything was sent."""

    status: int
    code: str  # stable; the table is app/problems.py
    detail: str


class TelescopeError(Exception):
    """Root of the tree; `problem` is what the service said, if it said anything."""

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class BadImage(TelescopeError):
    problem: Problem

    def __init__(self, index: int, problem: Problem) -> None:
        super().__init__(f"image {index}: {problem.detail}", problem)
        self.index = index


class BadRequest(TelescopeError):
    pass


class Overloaded(TelescopeError):
    pass


class TimedOut(TelescopeError):
    pass


class Unreachable(TelescopeError):
    pass


class ServerError(TelescopeError):
    pass


@dataclass(frozen=True)
class Answer:
    """One picture as it came back. method, reason: what was done and why, where the service says so."""

    data: bytes
    media_type: str
    method: str | None = None
    reason: str | None = None

    def pil(self) -> Image.Image:
        return Image.open(BytesIO(self.data)).convert("RGB")

    def rgb(self) -> Rgb:
        """uint8 (H, W, 3), writable."""
        return np.array(self.pil())


Entry = Answer | Problem
Step = httpx.Request | float
Reply = httpx.Response | httpx.TransportError | None
Exchange = Generator[Step, Reply, list[Entry]]
Ask = Callable[[Sequence[bytes], float], httpx.Request]  # images, seconds left -> request


def split(images: Sequence[bytes], *, max_images: int, max_bytes: int) -> Iterator[list[bytes]]:
    """Parts of a sequence in order, each within both limits; an image over the limit goes alone."""
    part: list[bytes] = []
    room = max_bytes
    for image in images:
        size = len(image) + PART_OVERHEAD_BYTES
        if part and (size > room or len(part) == max_images):
            yield part
            part, room = [], max_bytes
        part.append(image)
        room -= size
    if part:
        yield part


def exchange(images: Sequence[bytes], ask: Ask, *, timeout_s: float) -> Exchange:
    """One entry an image, in order. The time runs from the first step and holds waits and further tries too."""
    entries = yield from _exchange(images, ask, time.monotonic() + timeout_s)
    return entries


def _exchange(images: Sequence[bytes], ask: Ask, deadline: float) -> Exchange:
    answered: dict[int, Entry] = {}
    waiting = list(range(len(images)))
    broken = 0
    for attempt in count():
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimedOut("The service did not answer in the time given.")
        reply = yield ask([images[i] for i in waiting], left)
        wait = BACKOFF_S * 2**attempt
        gave_up: TelescopeError | None = None
        try:
            answered |= zip(waiting, _entries(reply, len(waiting)), strict=True)
        except _TooLarge as exc:
            return (yield from _halves(images, ask, deadline, exc.problem))
        except Unreachable as exc:
            broken += 1
            if broken == TRIES:
                raise
            gave_up = exc
        except Overloaded as exc:
            wait = _retry_after_s(reply) or wait
            gave_up = exc
        waiting = [i for i in waiting if i not in answered or _comes_back(answered[i])]
        wait *= 1 + JITTER * random.random()
        if not waiting or (not gave_up and wait >= deadline - time.monotonic()):
            break
        if gave_up and wait >= deadline - time.monotonic():
            raise gave_up
        yield wait
    return [answered[i] for i in range(len(images))]
