"""Text Telescope from Python, over HTTP: one picture or thousands, with threads or asyncio.

    with TelescopeClient("http://127.0.0.1:8000") as telescope:
        sharp = telescope.super_resolve(crop)            # uint8 (H, W, 3) -> (2H, 2W, 3)
        many = telescope.super_resolve([crop, "b.png"])  # in order, in as few requests as the limits allow
        lines = telescope.regions(page, quadrilaterals)  # a page and where a detector found its text

    async with AsyncTelescopeClient(url) as telescope:
        sharp = await telescope.super_resolve(crop)

A picture goes in as an array (uint8, (H, W, 3) or grey (H, W)), a PIL image, a path, or the bytes of a file. What
a busy service refuses (429, 503) and what a broken connection loses is sent again within `timeout_s`; computing it
twice does no harm. Needs the extra `client`. The tree of errors is drawn in `text_telescope/exchange.py`.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, Literal, Self, TypeVar, Unpack, overload

import httpx

from text_telescope.base import BaseClient, CropWish, OrElse, PageWish, Regions, in_order, told
from text_telescope.exchange import (
    BadImage,
    Exchange,
    Reply,
)
from text_telescope.pictures import Answer, Picture, Rgb, is_one

T = TypeVar("T")


class TelescopeClient(BaseClient[httpx.Client]):
    """Blocking; threads may share it. One pool of connections, closed by `close` or `with`."""

    _http_kind = httpx.Client

    @overload
    def super_resolve(self, images: Picture, **wish: Unpack[CropWish]) -> Rgb: ...  # type: ignore[overload-overlap]

    @overload
    def super_resolve(
        self, images: Sequence[Picture], *, errors: Literal["raise", "keep"] = "raise", **wish: Unpack[CropWish]
    ) -> list[Rgb]: ...

    @overload
    def super_resolve(
        self, images: Sequence[Picture], *, errors: Literal["return"], **wish: Unpack[CropWish]
    ) -> list[Rgb | BadImage]: ...

    def super_resolve(self, images: Any, *, errors: OrElse = "raise", **wish: Unpack[CropWish]) -> Any:
        """One picture, or a sequence -> uint8 (2H, 2W, 3), or a list of them in order.

        With `recogniser`, what that one reads best: (2H, 2W, 3), or (H, W, 3) as it was.

        errors: of single images in a sequence. "raise" the first BadImage, "return" it in the image's place, or
            "keep" the array as it was given, so that a pipeline reads on; also where it was only enlarged.
        Raises another TelescopeError when a whole request has no answer, and TypeError for what is no picture.
        """
        if is_one(images):
            return self._arrays([images], self.answers([images], **wish), "raise")[0]
        return self._arrays(images, self.answers(images, **wish), errors)

    def answers(self, images: Sequence[Picture], **wish: Unpack[CropWish]) -> list[Answer | BadImage]:
        """What the service said of each: the picture's file, what was done and why; or, in its place, BadImage.

        Raises as `super_resolve`.
        """
        encoded = self._encoded(images)
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="telescope") as pool:
            found = pool.map(self._drive, self._of_crops(encoded, wish))
            return in_order(encoded, chain.from_iterable(found))

    @overload
    def regions(
        self, page: Picture, regions: Regions, *, errors: Literal["raise"] = "raise", **wish: Unpack[PageWish]
    ) -> list[Rgb]: ...

    @overload
    def regions(
        self, page: Picture, regions: Regions, *, errors: Literal["return"], **wish: Unpack[PageWish]
    ) -> list[Rgb | BadImage]: ...

    def regions(
        self, page: Picture, regions: Regions, *, errors: OrElse = "raise", **wish: Unpack[PageWish]
    ) -> list[Any]:
        """Regions of a page, as a text detector returns them -> each upright and at twice its size, in order.

        regions: quadrilaterals [[x, y], ...] clockwise from the text's top left, or boxes [x0, y0, x1, y1].
        errors: as for `super_resolve`, of single regions.
        """
        if len(regions) == 0:  # a page without text is no bad request
            return []
        return self._arrays(regions, told(self._drive(self._of_regions(page, regions, wish))), errors)

    def recompose(self, page: Picture, regions: Regions, **wish: Unpack[PageWish]) -> Rgb:
        """The page at twice its size, uint8 (2H, 2W, 3): its regions super-resolved, the rest enlarged.

        A region that the service refuses is among the rest; `regions` says why.
        """
        return self._drive(self._of_page(page, regions, wish)).array(self._channels)

    def _drive(self, steps: Exchange[T]) -> T:
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
            value: T = done.value
            return value

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncTelescopeClient(BaseClient[httpx.AsyncClient]):
    """The same for asyncio; files are read, and pictures en- and decoded, in threads. `close` or `async with`."""

    _http_kind = httpx.AsyncClient

    @overload
    async def super_resolve(self, images: Picture, **wish: Unpack[CropWish]) -> Rgb: ...  # type: ignore[overload-overlap]

    @overload
    async def super_resolve(
        self, images: Sequence[Picture], *, errors: Literal["raise", "keep"] = "raise", **wish: Unpack[CropWish]
    ) -> list[Rgb]: ...

    @overload
    async def super_resolve(
        self, images: Sequence[Picture], *, errors: Literal["return"], **wish: Unpack[CropWish]
    ) -> list[Rgb | BadImage]: ...

    async def super_resolve(self, images: Any, *, errors: OrElse = "raise", **wish: Unpack[CropWish]) -> Any:
        """As `TelescopeClient.super_resolve`."""
        if is_one(images):
            answers = await self.answers([images], **wish)
            return (await asyncio.to_thread(self._arrays, [images], answers, "raise"))[0]
        return await asyncio.to_thread(self._arrays, images, await self.answers(images, **wish), errors)

    async def answers(self, images: Sequence[Picture], **wish: Unpack[CropWish]) -> list[Answer | BadImage]:
        """As `TelescopeClient.answers`."""
        encoded = await asyncio.to_thread(self._encoded, images)
        free = asyncio.Semaphore(self._concurrency)

        async def drive(steps: Exchange[T]) -> T:
            async with free:
                return await self._drive(steps)

        running = [asyncio.create_task(drive(steps)) for steps in self._of_crops(encoded, wish)]
        try:
            return in_order(encoded, chain.from_iterable(await asyncio.gather(*running)))
        finally:
            for task in running:  # after a failure nobody wants the others' answers
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    @overload
    async def regions(
        self, page: Picture, regions: Regions, *, errors: Literal["raise"] = "raise", **wish: Unpack[PageWish]
    ) -> list[Rgb]: ...

    @overload
    async def regions(
        self, page: Picture, regions: Regions, *, errors: Literal["return"], **wish: Unpack[PageWish]
    ) -> list[Rgb | BadImage]: ...

    async def regions(
        self, page: Picture, regions: Regions, *, errors: OrElse = "raise", **wish: Unpack[PageWish]
    ) -> list[Any]:
        """As `TelescopeClient.regions`."""
        if len(regions) == 0:
            return []
        found = await self._drive(await asyncio.to_thread(self._of_regions, page, regions, wish))
        return await asyncio.to_thread(self._arrays, regions, told(found), errors)

    async def recompose(self, page: Picture, regions: Regions, **wish: Unpack[PageWish]) -> Rgb:
        """As `TelescopeClient.recompose`."""
        answer = await self._drive(await asyncio.to_thread(self._of_page, page, regions, wish))
        return await asyncio.to_thread(answer.array, self._channels)

    async def _drive(self, steps: Exchange[T]) -> T:
        reply: Reply = None
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
            value: T = done.value
            return value

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
