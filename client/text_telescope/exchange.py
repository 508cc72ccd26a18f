"""The client's half of the protocol, without input or output: what is asked for -> requests -> answers.

An exchange is a generator. It yields a request to send, or the seconds to wait; it is sent the response, or the
error of the transport; it returns what was asked for. Threads or an event loop drive it: `app/client.py`.

TelescopeError
├── BadImage       one image has no answer: its index and the problem
├── BadRequest     nothing of the request can be answered: an unknown model, a bad parameter
│   └── TooLarge       the body, the page or the number of regions
├── Overloaded     429 or 503, and too little time left to come back
├── TimedOut       no answer within the time
├── Unreachable    no connection, or it broke, several times
└── ServerError    the service failed, or something else answered in its place
"""

import base64
import random
import time
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any, TypeVar

import httpx

from text_telescope.pictures import Answer

TRIES = 3  # at a connection that fails: a server that is not there is told in a second, not after all the time
BACKOFF_S = 0.25  # doubled at each try where the service does not say when to come back
MAX_DOUBLINGS = 4
JITTER = 0.25  # of the wait, added to it: those who were refused together shall not come back together
PART_OVERHEAD_BYTES = 256  # a multipart boundary and its headers, generously
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_LATE = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT)


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


class TooLarge(BadRequest):
    problem: Problem


class Overloaded(TelescopeError):
    pass


class TimedOut(TelescopeError):
    pass


class Unreachable(TelescopeError):
    pass


class ServerError(TelescopeError):
    pass


T = TypeVar("T")
Item = TypeVar("Item")
Entry = Answer | Problem
Reply = httpx.Response | httpx.TransportError | None
Exchange = Generator[httpx.Request | float, Reply, T]
Ask = Callable[[Sequence[Item], float], httpx.Request]  # what is asked for, and the seconds left -> the request


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


def entries(
    items: Sequence[Item], ask: Ask[Item], *, timeout_s: float, halved_on: Container[str]
) -> Exchange[list[Entry]]:
    """One entry an item, in order. The time runs from the first step; waits and further tries count too.

    halved_on: codes of status 413 that fewer items would avoid; each half is asked for again.
    Raises TelescopeError when the request as a whole has no answer.
    """
    return (yield from _entries(items, ask, time.monotonic() + timeout_s, halved_on))


def picture(ask: Callable[[float], httpx.Request], *, timeout_s: float) -> Exchange[Answer]:
    """The one picture that a request asks for. Time and errors as for `entries`."""
    return (yield from _tried(ask, _read_picture, time.monotonic() + timeout_s))


def _entries(
    items: Sequence[Item], ask: Ask[Item], deadline: float, halved_on: Container[str], attempt: int = 0
) -> Exchange[list[Entry]]:
    try:
        read = partial(_read_entries, expected=len(items))
        found = yield from _tried(partial(ask, items), read, deadline)
    except TooLarge as exc:
        if exc.problem.code not in halved_on:
            raise
        if len(items) == 1:
            return [exc.problem]
        middle = len(items) // 2
        first = yield from _entries(items[:middle], ask, deadline, halved_on)
        return first + (yield from _entries(items[middle:], ask, deadline, halved_on))
    # What a replica had not computed when it was shut down, or within a deadline shorter than ours, still can be.
    dropped = [i for i, entry in enumerate(found) if isinstance(entry, Problem) and entry.status in _BUSY + _LATE]
    pause = _pause_s(None, attempt)
    if dropped and time.monotonic() + pause < deadline:
        yield pause
        with suppress(Overloaded, TimedOut, Unreachable):  # then what was said of each of them stands
            again = yield from _entries([items[i] for i in dropped], ask, deadline, halved_on, attempt + 1)
            for i, entry in zip(dropped, again, strict=True):
                found[i] = entry
    return found


def _tried(
    ask: Callable[[float], httpx.Request], read: Callable[[httpx.Response], T], deadline: float
) -> Exchange[T]:
    """What `read` makes of the answer; sent again while that may help and the time lasts."""
    broken = 0
    for attempt in count():
        reply = yield ask(deadline - time.monotonic())
        try:
            return read(_accepted(reply))
        except (Overloaded, Unreachable) as exc:
            broken += isinstance(exc, Unreachable)
            pause = _pause_s(reply, attempt)
            if broken == TRIES or time.monotonic() + pause > deadline:
                raise
        yield pause
    raise AssertionError("unreachable")


def _pause_s(reply: Reply, attempt: int) -> float:
    """At least what the service names, and never nothing."""
    told = reply.headers.get("retry-after", "") if isinstance(reply, httpx.Response) else ""
    pause = max(float(told), BACKOFF_S) if told.isdecimal() else BACKOFF_S * 2 ** min(attempt, MAX_DOUBLINGS)
    return pause * (1 + JITTER * random.random())


def _accepted(reply: Reply) -> httpx.Response:
    """The response, if it is 200."""
    if isinstance(reply, httpx.TimeoutException) and not isinstance(reply, httpx.ConnectTimeout):
        raise TimedOut("The service did not answer in time.") from reply
    if isinstance(reply, httpx.TransportError):
        raise Unreachable(f"The service cannot be reached: {str(reply) or type(reply).__name__}.") from reply
    assert reply is not None
    if reply.status_code != HTTPStatus.OK:
        raise _refusal(reply)
    return reply


def _read_entries(response: httpx.Response, *, expected: int) -> list[Entry]:
    try:
        found = [_entry(told) for told in response.json()["images"]]
    except (ValueError, KeyError, TypeError) as exc:
        raise _stranger(response) from exc
    if len(found) != expected:
        raise ServerError(f"The service answered {len(found)} images of {expected}.")
    return found


def _read_picture(response: httpx.Response) -> Answer:
    media_type = response.headers.get("content-type", "")
    if not media_type.startswith("image/"):
        raise _stranger(response)
    return Answer(response.content, media_type)


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
    if status in _BUSY:
        return Overloaded(message, problem)
    if status in _LATE:
        return TimedOut(message, problem)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge(message, problem or Problem(status, "http_error", message))
    if problem is None and status < 500:
        return _stranger(response)
    return (BadRequest if status < 500 else ServerError)(message, problem)


def _stranger(response: httpx.Response) -> ServerError:
    return ServerError(f"What answers at {response.url} (status {response.status_code}) is no Text Telescope.")
