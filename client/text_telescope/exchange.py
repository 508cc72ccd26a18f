"""The client's half of the protocol, without input or output: images or regions -> requests -> results.

An exchange is a generator. It yields a request to send, or the seconds to sleep; it receives the response, or the
transport's error; it returns the results. Threads or an event loop drive it: `text_telescope/client.py`.

TelescopeError
├── BadImage       one image failed: its index and the problem
├── BadRequest     the whole request is at fault: an unknown model, a bad parameter
│   └── TooLarge       the body, the page or the number of regions
├── Overloaded     429 or 503, and too little time left to try again
├── TimedOut       no response before the deadline
├── Unreachable    no connection, or it broke, several times
└── ServerError    the service failed, or another program listens at its address
"""

from __future__ import annotations

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

TRIES = 3  # of a connection: an absent server is reported within a second, not after `timeout_s`
BACKOFF_S = 0.25  # doubled at each try if the service sends no Retry-After
MAX_DOUBLINGS = 4
JITTER = 0.25  # random share added to each pause, so that clients refused together do not return together
PART_OVERHEAD_BYTES = 256  # a multipart boundary and its headers, generously
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_LATE = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT)


@dataclass(frozen=True)
class Problem:
    """The cause of a failure. status: of the HTTP response; 0 if the client found it before sending."""

    status: int
    code: str  # stable; the service lists its own at /docs
    detail: str


class TelescopeError(Exception):
    """Root of the tree. problem: from the service's response, if there was one."""

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class BadImage(TelescopeError):
    problem: Problem

    def __init__(self, index: int, problem: Problem) -> None:
        super().__init__(f"Image {index}: {problem.detail}", problem)
        self.index = index

    def __reduce__(self) -> tuple[type[BadImage], tuple[int, Problem]]:
        return type(self), (self.index, self.problem)  # pickle would call it with the message


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
BuildRequest = Callable[[Sequence[Item], float], httpx.Request]  # the items, and the seconds left


def split(images: Sequence[bytes], *, max_images: int, max_bytes: int) -> Iterator[Sequence[bytes]]:
    """Consecutive parts, each within both limits; an image above the limit is a part of its own."""
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
    items: Sequence[Item], build: BuildRequest[Item], *, timeout_s: float, halved_on: Container[str]
) -> Exchange[list[Entry]]:
    """One entry per item, in order. The time runs from the first step and includes pauses and retries.

    halved_on: codes of status 413 that fewer items would avoid; each half is then requested on its own.
    Raises TelescopeError if the request as a whole failed.
    """
    return (yield from _entries(items, build, time.monotonic() + timeout_s, halved_on))


def single(
    build: Callable[[float], httpx.Request], read: Callable[[httpx.Response], T], *, timeout_s: float
) -> Exchange[T]:
    """A response as `read` takes it. Time and errors as for `entries`."""
    return (yield from _send_until_accepted(build, read, time.monotonic() + timeout_s))


def read_picture(response: httpx.Response) -> Answer:
    """The single picture of a response."""
    media_type = response.headers.get("content-type", "")
    if not media_type.startswith("image/"):
        raise ValueError(f"{media_type!r} is no picture.")
    return Answer(response.content, media_type)


def read_model(response: httpx.Response) -> dict[str, Any]:
    """A served model as `GET /v1/models` describes it; of a list the first, the default."""
    body = response.json()
    found: dict[str, Any] = body["models"][0] if "models" in body else body
    return {"name": found["name"], "version": found["version"], **found}


def _entries(
    items: Sequence[Item], build: BuildRequest[Item], deadline: float, halved_on: Container[str], attempt: int = 0
) -> Exchange[list[Entry]]:
    try:
        read = partial(_read_entries, expected=len(items))
        found = yield from _send_until_accepted(partial(build, items), read, deadline)
    except TooLarge as exc:
        if exc.problem.code not in halved_on:
            raise
        if len(items) == 1:
            return [exc.problem]
        middle = len(items) // 2
        first = yield from _entries(items[:middle], build, deadline, halved_on)
        return first + (yield from _entries(items[middle:], build, deadline, halved_on))
    # Images failed by a replica that shuts down, or by a deadline shorter than ours, can still succeed elsewhere.
    dropped = [i for i, entry in enumerate(found) if isinstance(entry, Problem) and entry.status in _BUSY + _LATE]
    pause = _pause_s(None, attempt)
    if dropped and time.monotonic() + pause < deadline:
        yield pause
        with suppress(Overloaded, TimedOut, Unreachable):  # then the first problems stand
            again = yield from _entries([items[i] for i in dropped], build, deadline, halved_on, attempt + 1)
            for i, entry in zip(dropped, again, strict=True):
                found[i] = entry
    return found


def _send_until_accepted(
    build: Callable[[float], httpx.Request], read: Callable[[httpx.Response], T], deadline: float
) -> Exchange[T]:
    """Send until a response is accepted, and read it; retry while that may help and time is left."""
    broken = 0
    for attempt in count():
        reply = yield build(deadline - time.monotonic())
        try:
            return _read(read, _accepted(reply))
        except (Overloaded, Unreachable) as exc:
            broken += isinstance(exc, Unreachable)
            pause = _pause_s(reply, attempt)
            if broken == TRIES or time.monotonic() + pause > deadline:
                raise
        yield pause
    raise AssertionError("unreachable")


def _pause_s(reply: Reply, attempt: int) -> float:
    """At least the Retry-After of the service, and never zero."""
    named = reply.headers.get("retry-after", "") if isinstance(reply, httpx.Response) else ""
    pause = max(float(named), BACKOFF_S) if named.isdecimal() else BACKOFF_S * 2 ** min(attempt, MAX_DOUBLINGS)
    return pause * (1 + JITTER * random.random())


def _accepted(reply: Reply) -> httpx.Response:
    """The response, if its status is 200. Raises TelescopeError otherwise."""
    if isinstance(reply, httpx.TimeoutException) and not isinstance(reply, httpx.ConnectTimeout):
        raise TimedOut("The service did not answer in time.") from reply
    if isinstance(reply, httpx.TransportError):
        raise Unreachable(_unreachable(reply)) from reply
    assert reply is not None
    if reply.status_code != HTTPStatus.OK:
        raise _refusal(reply)
    return reply


def _unreachable(error: httpx.TransportError) -> str:
    url, reason = error.request.url, str(error).rstrip(".") or type(error).__name__
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        reason = "it does not speak https; try http://"
    return f"The service cannot be reached at {url.scheme}://{url.netloc.decode()}: {reason}."


def _read(read: Callable[[httpx.Response], T], response: httpx.Response) -> T:
    try:
        return read(response)
    except (ValueError, KeyError, TypeError, IndexError) as exc:
        raise _not_text_telescope(response) from exc


def _read_entries(response: httpx.Response, *, expected: int) -> list[Entry]:
    found = [_entry(fields) for fields in response.json()["images"]]
    if len(found) != expected:
        raise ServerError(f"The service answered {len(found)} images of {expected}.")
    return found


def _entry(fields: dict[str, Any]) -> Entry:
    if fields["outcome"] == "failed":
        return problem_of(fields["problem"])
    data = base64.b64decode(fields["data"], validate=True)
    return Answer(data, fields["media_type"], fields.get("method"), fields.get("reason"))


def problem_of(fields: dict[str, Any]) -> Problem:
    return Problem(fields["status"], fields["code"], fields["detail"])


def _refusal(response: httpx.Response) -> TelescopeError:
    status = response.status_code
    try:
        problem = problem_of(response.json())
    except (ValueError, KeyError, TypeError):  # perhaps from a proxy
        problem = None
    message = problem.detail if problem else f"Status {status} {response.reason_phrase}."
    if status in _BUSY:
        return Overloaded(message, problem)
    if status in _LATE:
        return TimedOut(message, problem)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge(message, problem or Problem(status, "http_error", message))
    if problem is None and status < 500:
        return _not_text_telescope(response)
    return (BadRequest if status < 500 else ServerError)(message, problem)


def _not_text_telescope(response: httpx.Response) -> ServerError:
    return ServerError(f"The server at {response.url} is no Text Telescope (status {response.status_code}).")
