"""Text Telescope from Python, over HTTP: one picture or thousands, with threads or asyncio.

    with TelescopeClient("http://127.0.0.1:8000") as telescope:
        sharp = telescope.super_resolve(crop)            # uint8 (H, W, 3) -> (2H, 2W, 3)
        many = telescope.super_resolve([crop, "b.png"])  # in order, in as few requests as the limits allow

    async with AsyncTelescopeClient(url) as telescope:
        sharp = await telescope.super_resolve(crop)

A picture goes in as an array (uint8, (H, W, 3) or grey (H, W)), a PIL image, a path, or the bytes of a file. What
a busy service refuses (429, 503) and what a broken connection loses is sent again within `timeout_s`; computing it
twice does no harm. Needs the extra `client`. The tree of errors is drawn in `app/client_exchange.py`.
"""

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, Unpack, overload

import httpx

from app.client_exchange import (
    BadImage,
    BadRequest,
    Entry,
    Exchange,
    Overloaded,
    Problem,
    Reply,
    ServerError,
    TelescopeError,
    TimedOut,
    Unreachable,
    exchange,
    split,
)
from app.client_pictures import Answer, Channels, Picture, encode, is_one
from model_store.pixels import Rgb

__all__ = [
    "Answer",
    "AsyncTelescopeClient",
    "BadImage",
    "BadRequest",
    "Overloaded",
    "Problem",
    "ServerError",
    "TelescopeClient",
    "TelescopeError",
    "TimedOut",
    "Unreachable",
]

CONNECT_S = 5.0  # long enough for any network that is worth sending pictures over
OrElse = Literal["raise", "return", "keep"]
H = TypeVar("H", httpx.Client, httpx.AsyncClient)


class Wish(TypedDict, total=False):
    """Parameters of the request, explained by the service's page /docs; left out, the service's defaults."""

    geometry: Literal["native", "telescope"]
    mode: Literal["auto", "always"]
    format: Literal["png", "jpeg", "webp"]  # of `Answer.data`, and of the pictures on their way back
    model: str | None  # `name` or `name:version`


class _Client(Generic[H]):
    """What the two clients share: everything but waiting."""

    _http_kind: type[H]

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        timeout_s: float = 60,
        concurrency: int = 2,
        max_images: int = 64,
        max_request_bytes: int = 32 * 2**20,
        channels: Channels = "rgb",
    ) -> None:
        """Opens no connection yet; raises Unreachable for an address that is none.

        timeout_s: for each request from its first try to its answer, waits and further tries included.
        concurrency: requests at once in a call; two, so that one is computed while another is on its way.
        max_images, max_request_bytes: of one request; the service's own defaults. Where the service allows less,
            the client finds out, at the price of bodies sent in vain.
        channels: of arrays, in and out; OpenCV and the PP-OCR packages use "bgr".
        """
        if not url.startswith(("http://", "https://")):
            raise Unreachable(f"The address {url!r} does not begin with http:// or https://.")
        try:
            self._http: H = self._http_kind(base_url=url)
        except httpx.InvalidURL as exc:
            raise Unreachable(f"The address {url!r} cannot be read: {exc}.") from exc
        self._timeout_s = timeout_s
        self._concurrency = concurrency
        self._max_images = max_images
        self._max_request_bytes = max_request_bytes
        self._channels: Channels = channels

    def _encode(self, images: Iterable[Picture]) -> list[bytes | Problem]:
        """Blocking. A file that cannot be read is one image's problem, and not the others'."""
        encoded: list[bytes | Problem] = []
        for image in images:
            try:
                encoded.append(encode(image, self._channels))
            except OSError as exc:
                encoded.append(Problem(0, "unreadable_file", str(exc)))
        return encoded

    def _exchanges(self, encoded: Sequence[bytes | Problem], wish: Wish) -> list[Exchange]:
        params = {name: str(value) for name, value in wish.items() if value is not None}

        def ask(part: Sequence[bytes], left_s: float) -> httpx.Request:
            left_s = max(left_s, 0.001)
            return self._http.build_request(
                "POST",
                "/v1/super-resolve",
                params=params,
                files=[("image", ("image", image)) for image in part],
                headers={"Accept": "application/json", "X-Request-Timeout-Ms": str(math.ceil(1000 * left_s))},
                timeout=httpx.Timeout(left_s, connect=min(left_s, CONNECT_S)),
            )

        good = [image for image in encoded if isinstance(image, bytes)]
        parts = split(good, max_images=self._max_images, max_bytes=self._max_request_bytes)
        return [exchange(part, ask, timeout_s=self._timeout_s) for part in parts]

    def _arrays(
        self, images: Sequence[Picture], answers: Sequence[Answer | BadImage], or_else: OrElse
    ) -> list[Any]:
        """Blocking."""
        arrays: list[Any] = []
        for image, answer in zip(images, answers, strict=True):
            if isinstance(answer, Answer):
                arrays.append(answer.array(self._channels))
            elif or_else == "raise":
                raise answer
            else:
                arrays.append(answer if or_else == "return" else image)
        return arrays


class TelescopeClient(_Client[httpx.Client]):
    """Blocking; threads may share it. One pool of connections, closed by `close` or `with`."""

    _http_kind = httpx.Client

    @overload
    def super_resolve(self, images: Picture, **wish: Unpack[Wish]) -> Rgb: ...  # type: ignore[overload-overlap]

    @overload
    def super_resolve(
        self, images: Sequence[Picture], *, errors: Literal["raise", "keep"] = "raise", **wish: Unpack[Wish]
    ) -> list[Rgb]: ...

    @overload
    def super_resolve(
        self, images: Sequence[Picture], *, errors: Literal["return"], **wish: Unpack[Wish]
    ) -> list[Rgb | BadImage]: ...

    def super_resolve(self, images: Any, *, errors: OrElse = "raise", **wish: Unpack[Wish]) -> Any:
        """One picture, or a sequence -> uint8 (2H, 2W, 3), or a list of them in order.

        errors: of single images in a sequence. "raise" the first BadImage, "return" it in the image's place, or
            "keep" the array as it was given, so that a pipeline reads on.
        Raises another TelescopeError when a whole request has no answer, and TypeError for what is no picture.
        """
        if is_one(images):
            return self._arrays([images], self.answers([images], **wish), "raise")[0]
        return self._arrays(images, self.answers(images, **wish), errors)

    def answers(self, images: Sequence[Picture], **wish: Unpack[Wish]) -> list[Answer | BadImage]:
        """What the service said of each: the picture's file, what was done and why; or, in its place, BadImage.

        Raises as `super_resolve`.
        """
        encoded = self._encode(images)
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="telescope") as pool:
            return _in_order(encoded, pool.map(self._drive, self._exchanges(encoded, wish)))

    def _drive(self, steps: Exchange) -> list[Entry]:
        reply: Reply = None
        try:
            while True:
                step = steps.send(reply)
                if isinstance(step, float):
                    time.sleep(step)
                    continue
                try:
                    reply = self._http.send(step)
                except httpx.TransportError as exc:
                    reply = exc
        except StopIteration as done:
            return list(done.value)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncTelescopeClient(_Client[httpx.AsyncClient]):
    """The same for asyncio; files are read, and pictures en- and decoded, in threads. `close` or `async with`."""

    _http_kind = httpx.AsyncClient

    @overload
    async def super_resolve(self, images: Picture, **wish: Unpack[Wish]) -> Rgb: ...  # type: ignore[overload-overlap]

    @overload
    async def super_resolve(
        self, images: Sequence[Picture], *, errors: Literal["raise", "keep"] = "raise", **wish: Unpack[Wish]
    ) -> list[Rgb]: ...

    @overload
    async def super_resolve(
        self, images: Sequence[Picture], *, errors: Literal["return"], **wish: Unpack[Wish]
    ) -> list[Rgb | BadImage]: ...

    async def super_resolve(self, images: Any, *, errors: OrElse = "raise", **wish: Unpack[Wish]) -> Any:
        """As `TelescopeClient.super_resolve`."""
        if is_one(images):
            answers = await self.answers([images], **wish)
            return (await asyncio.to_thread(self._arrays, [images], answers, "raise"))[0]
        return await asyncio.to_thread(self._arrays, images, await self.answers(images, **wish), errors)

    async def answers(self, images: Sequence[Picture], **wish: Unpack[Wish]) -> list[Answer | BadImage]:
        """As `TelescopeClient.answers`."""
        encoded = await asyncio.to_thread(self._encode, images)
        free = asyncio.Semaphore(self._concurrency)
        running = [asyncio.create_task(self._drive(steps, free)) for steps in self._exchanges(encoded, wish)]
        try:
            return _in_order(encoded, await asyncio.gather(*running))
        finally:
            for task in running:  # after a failure nobody wants the others' answers
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _drive(self, steps: Exchange, free: asyncio.Semaphore) -> list[Entry]:
        reply: Reply = None
        async with free:
            try:
                while True:
                    step = steps.send(reply)
                    if isinstance(step, float):
                        await asyncio.sleep(step)
                        continue
                    try:
                        reply = await self._http.send(step)
                    except httpx.TransportError as exc:
                        reply = exc
            except StopIteration as done:
                return list(done.value)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def _in_order(encoded: Sequence[bytes | Problem], parts: Iterable[list[Entry]]) -> list[Answer | BadImage]:
    """The entries of all requests, with the problems found before any was sent at their places."""
    entries = chain.from_iterable(parts)
    placed = [one if isinstance(one, Problem) else next(entries) for one in encoded]
    return [BadImage(i, one) if isinstance(one, Problem) else one for i, one in enumerate(placed)]
