"""The client's half of the protocol, without input or output: encoded images -> requests -> answers.

An exchange is a generator. It yields a request to send, or the seconds to wait; it is sent the response, or the
error of the transport; it returns one entry an image. Threads or an event loop drive it: `app/client.py`.

TelescopeError
├── BadImage       one image has no answer: its index and the problem
├── BadRequest     no image of the request can be answered: an unknown model, a bad parameter
├── Overloaded     429 or 503, and too little time left to come back
├── TimedOut       no answer within the time
├── Unreachable    no connection, or it broke, several times
└── ServerError    the service failed, or something else answered in its place
"""

import base64
import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import Any

import httpx

from app.client_pictures import Answer

TRIES = 3  # at a connection that fails: a server that is not there is told in a second, not after all the time
BACKOFF_S = 0.25  # doubled at each try, up to the next, where the server does not say when to come back
MAX_BACKOFF_S = 4.0
JITTER = 0.25  # of the wait, added to it: those who were refused together shall not come back together
PART_OVERHEAD_BYTES = 256  # a multipart boundary and its headers, generously
_COME_BACK = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True)
class Problem:
    """What went wrong. status: HTTP's; 0 for what was found before anything was sent."""

    status: int
    code: str  # stable; those of the service: app/problems.py
    detail: str


class TelescopeError(Exception):
    """Root of the tree. problem: what the service said, if it said anything."""

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class BadImage(TelescopeError):
    problem: Problem

    def __init__(self, index: int, problem: Problem) -> None:
        super().__init__(f"Image {index}: {problem.detail}", problem)
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


Entry = Answer | Problem
Reply = httpx.Response | httpx.TransportError | None
Exchange = Generator[httpx.Request | float, Reply, list[Entry]]
Ask = Callable[[Sequence[bytes], float], httpx.Request]  # images and the seconds left -> the request


def split(images: Sequence[bytes], *, max_images: int, max_bytes: int) -> Iterator[Sequence[bytes]]:
    """Parts of a sequence, in order, each within both limits; an image beyond the limit goes alone."""
    start = nbytes = 0
    for end, image in enumerate(images):
        size = len(image) + PART_OVERHEAD_BYTES
        if end > start and (end - start == max_images or nbytes + size > max_bytes):
            yield images[start:end]
            start, nbytes = end, 0
        nbytes += size
    if images:
        yield images[start:]


def exchange(images: Sequence[bytes], ask: Ask, *, timeout_s: float) -> Exchange:
    """One entry an image, in order. The time runs from the first step; waits and further tries count too.

    Raises TelescopeError when the request as a whole has no answer. A part that the server finds too large is
    sent again in halves.
    """
    return (yield from _exchange(images, ask, time.monotonic() + timeout_s))


def _exchange(images: Sequence[bytes], ask: Ask, deadline: float) -> Exchange:
    answered: dict[int, Entry] = {}
    waiting = list(range(len(images)))
    refused: TelescopeError | None = None
    broken = 0
    for attempt in count():
        reply = yield ask([images[i] for i in waiting], deadline - time.monotonic())
        try:
            answered.update(zip(waiting, _entries(reply, len(waiting)), strict=True))
        except _TooLarge as exc:
            return (yield from _in_halves(images, ask, deadline, exc.problem))
        except Overloaded as exc:
            refused = exc
        except Unreachable as exc:
            refused = exc
            broken += 1
        waiting = [i for i in waiting if _may_come_back(answered.get(i))]
        pause = _pause_s(reply, attempt)
        if not waiting or broken == TRIES or time.monotonic() + pause > deadline:
            break
        yield pause
    if refused and len(answered) < len(images):
        raise refused
    return [answered[i] for i in range(len(images))]


def _in_halves(images: Sequence[bytes], ask: Ask, deadline: float, problem: Problem) -> Exchange:
    if len(images) == 1:
        return [problem]
    middle = len(images) // 2
    first = yield from _exchange(images[:middle], ask, deadline)
    return first + (yield from _exchange(images[middle:], ask, deadline))


def _may_come_back(entry: Entry | None) -> bool:
    """Not answered yet, or with a problem that passes: its replica was shutting down."""
    return entry is None or (isinstance(entry, Problem) and entry.status in _COME_BACK)


def _pause_s(reply: Reply, attempt: int) -> float:
    told = reply.headers.get("retry-after", "") if isinstance(reply, httpx.Response) else ""
    pause = float(told) if told.isdecimal() else min(BACKOFF_S * 2**attempt, MAX_BACKOFF_S)
    return pause * (1 + JITTER * random.random())


class _TooLarge(TelescopeError):
    problem: Problem


def _entries(reply: Reply, expected: int) -> list[Entry]:
    if isinstance(reply, httpx.TimeoutException) and not isinstance(reply, httpx.ConnectTimeout):
        raise TimedOut("The service did not answer in time.") from reply
    if isinstance(reply, httpx.TransportError):
        raise Unreachable(f"The service cannot be reached: {str(reply) or type(reply).__name__}.") from reply
    assert reply is not None
    if reply.status_code != HTTPStatus.OK:
        raise _refusal(reply)
    try:
        entries = [_entry(told) for told in reply.json()["images"]]
    except (ValueError, KeyError, TypeError) as exc:
        raise _stranger(reply) from exc
    if len(entries) != expected:
        raise ServerError(f"The service answered {len(entries)} images of {expected}.")
    return entries


def _entry(told: dict[str, Any]) -> Entry:
    if told["outcome"] == "failed":
        return _problem(told["problem"])
    data = base64.b64decode(told["data"], validate=True)
    return Answer(data, told["media_type"], told.get("method"), told.get("reason"))


def _problem(told: dict[str, Any]) -> Problem:
    return Problem(told["status"], told["code"], told["detail"])


def _refusal(response: httpx.Response) -> TelescopeError:
    status = response.status_code
    try:
        problem = _problem(response.json())
    except (ValueError, KeyError, TypeError):  # not ours: a proxy's, perhaps
        problem = None
    message = problem.detail if problem else f"Status {status} {response.reason_phrase}."
    if status in _COME_BACK:
        return Overloaded(message, problem)
    if status in (HTTPStatus.GATEWAY_TIMEOUT, HTTPStatus.REQUEST_TIMEOUT):
        return TimedOut(message, problem)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return _TooLarge(message, problem or Problem(status, "http_error", message))
    if problem is None and status < 500:
        return _stranger(response)
    return (BadRequest if status < 500 else ServerError)(message, problem)


def _stranger(response: httpx.Response) -> ServerError:
    return ServerError(f"What answers at {response.url} (status {response.status_code}) is no Text Telescope.")
