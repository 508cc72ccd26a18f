"""Text Telescope from Python, over HTTP: one picture or thousands, with threads or asyncio.

    with TelescopeClient("http://127.0.0.1:8000") as telescope:
        sharp = telescope.super_resolve(crop)            # uint8 (H, W, 3) -> (2H, 2W, 3)
        many = telescope.super_resolve([crop, "b.png"])  # in order, in as few requests as the limits allow
        lines = telescope.regions(page, quadrilaterals)  # a page and where a detector found its text

    async with AsyncTelescopeClient(url) as telescope:
        sharp = await telescope.super_resolve(crop)

A picture goes in as an array (uint8; colour (H, W, 3), with alpha (H, W, 4), or grey (H, W)), a PIL image, a path,
a file opened in binary mode, or the bytes of a file. A PIL image of one frame gives the same result as its file,
upright by its EXIF orientation; one with levels of 32 bits raises TypeError.
Requests that a busy service refuses (429, 503) or a broken connection loses are sent again within `timeout_s`;
computing one twice does no harm. The error tree is drawn in `text_telescope/exchange.py`.
"""

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, Literal, Self, TypeVar, Unpack, overload

import httpx

from text_telescope.base import (
    BaseClient,
    CropParameters,
    OnError,
    PageParameters,
    Regions,
    in_order,
    plain_regions,
    with_errors,
)
from text_telescope.exchange import BadImage, Exchange, Reply
from text_telescope.pictures import Answer, Picture, Rgb, as_list, is_one

T = TypeVar("T")


class TelescopeClient(BaseClient[httpx.Client]):
    """Blocking; threads may share it. Holds one connection pool; close it by `close` or `with`."""

    _http_kind = httpx.Client

    @overload
    def super_resolve(self, images: Picture, **options: Unpack[CropParameters]) -> Rgb: ...  # type: ignore[overload-overlap]

    @overload
    def super_resolve(
        self,
        images: Iterable[Picture],
        *,
        errors: Literal["raise", "keep"] = "raise",
        **options: Unpack[CropParameters],
    ) -> list[Rgb]: ...

    @overload
    def super_resolve(
        self, images: Iterable[Picture], *, errors: Literal["return"], **options: Unpack[CropParameters]
    ) -> list[Rgb | BadImage]: ...

    def super_resolve(self, images: Any, *, errors: OnError = "raise", **options: Unpack[CropParameters]) -> Any:
        """One picture, or an iterable of them -> uint8 (2H, 2W, 3), or a list of them in order.

        With `recogniser`, a crop that it would not read better super-resolved comes back unchanged: (H, W, 3).

        errors: for a failed image among several: "raise" its BadImage, "return" the BadImage in its place, or
            "keep" the picture as given, so that a pipeline goes on; "keep" also replaces merely enlarged results.
        Raises another TelescopeError if a whole request failed, and TypeError for an object that is no picture.
        """
        if is_one(images):
            return self._arrays([images], self.answers([images], **options), "raise")[0]
        pictures = as_list(images)
        return self._arrays(pictures, self.answers(pictures, **options), errors)

    def answers(self, images: Iterable[Picture], **options: Unpack[CropParameters]) -> list[Answer | BadImage]:
        """One result per image, in order: the encoded picture with method and reason, or a BadImage.

        Raises as `super_resolve` does.
        """
        encoded = self._encoded(as_list(images))
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="telescope") as pool:
            found = pool.map(self._drive, self._of_crops(encoded, options))
            return in_order(encoded, chain.from_iterable(found))

    @overload
    def regions(
        self,
        page: Picture,
        regions: Regions,
        *,
        errors: Literal["raise"] = "raise",
        **options: Unpack[PageParameters],
    ) -> list[Rgb]: ...

    @overload
    def regions(
        self, page: Picture, regions: Regions, *, errors: Literal["return"], **options: Unpack[PageParameters]
    ) -> list[Rgb | BadImage]: ...

    def regions(
        self, page: Picture, regions: Regions, *, errors: OnError = "raise", **options: Unpack[PageParameters]
    ) -> list[Any]:
        """Regions of a page -> uint8 arrays in order, each upright and at twice its size.

        regions: quadrilaterals [[x, y], ...] clockwise from the text's top left, or boxes [x0, y0, x1, y1], in
            pixels of the page held upright. None or none of them -> [], without a request.
        errors: as for `super_resolve`, for each region.
        """
        given = plain_regions(regions)
        if not given:  # a page without text needs no request
            return []
        return self._arrays(given, with_errors(self._drive(self._of_regions(page, given, options))), errors)

    def recompose(self, page: Picture, regions: Regions, **options: Unpack[PageParameters]) -> Rgb:
        """The page at twice its size, uint8 (2H, 2W, 3): its regions super-resolved, the rest enlarged.

        A region that the service refuses is only enlarged; `regions` gives its error.
        """
        return self._drive(self._of_page(page, plain_regions(regions), options)).array(self._channels)

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
    """For asyncio. Threads read files and encode and decode pictures. Close it by `close` or `async with`."""

    _http_kind = httpx.AsyncClient

    @overload
    async def super_resolve(self, images: Picture, **options: Unpack[CropParameters]) -> Rgb: ...  # type: ignore[overload-overlap]

    @overload
    async def super_resolve(
        self,
        images: Iterable[Picture],
        *,
        errors: Literal["raise", "keep"] = "raise",
        **options: Unpack[CropParameters],
    ) -> list[Rgb]: ...

    @overload
    async def super_resolve(
        self, images: Iterable[Picture], *, errors: Literal["return"], **options: Unpack[CropParameters]
    ) -> list[Rgb | BadImage]: ...

    async def super_resolve(
        self, images: Any, *, errors: OnError = "raise", **options: Unpack[CropParameters]
    ) -> Any:
        """As `TelescopeClient.super_resolve`."""
        if is_one(images):
            answers = await self.answers([images], **options)
            return (await asyncio.to_thread(self._arrays, [images], answers, "raise"))[0]
        pictures = as_list(images)
        return await asyncio.to_thread(self._arrays, pictures, await self.answers(pictures, **options), errors)

    async def answers(
        self, images: Iterable[Picture], **options: Unpack[CropParameters]
    ) -> list[Answer | BadImage]:
        """As `TelescopeClient.answers`."""
        encoded = await asyncio.to_thread(self._encoded, as_list(images))
        free = asyncio.Semaphore(self._concurrency)

        async def drive(steps: Exchange[T]) -> T:
            async with free:
                return await self._drive(steps)

        running = [asyncio.create_task(drive(steps)) for steps in self._of_crops(encoded, options)]
        try:
            return in_order(encoded, chain.from_iterable(await asyncio.gather(*running)))
        finally:
            for task in running:  # after a failure the remaining results are useless
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    @overload
    async def regions(
        self,
        page: Picture,
        regions: Regions,
        *,
        errors: Literal["raise"] = "raise",
        **options: Unpack[PageParameters],
    ) -> list[Rgb]: ...

    @overload
    async def regions(
        self, page: Picture, regions: Regions, *, errors: Literal["return"], **options: Unpack[PageParameters]
    ) -> list[Rgb | BadImage]: ...

    async def regions(
        self, page: Picture, regions: Regions, *, errors: OnError = "raise", **options: Unpack[PageParameters]
    ) -> list[Any]:
        """As `TelescopeClient.regions`."""
        given = plain_regions(regions)
        if not given:
            return []
        found = await self._drive(await asyncio.to_thread(self._of_regions, page, given, options))
        return await asyncio.to_thread(self._arrays, given, with_errors(found), errors)

    async def recompose(self, page: Picture, regions: Regions, **options: Unpack[PageParameters]) -> Rgb:
        """As `TelescopeClient.recompose`."""
        steps = await asyncio.to_thread(self._of_page, page, plain_regions(regions), options)
        answer = await self._drive(steps)
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
