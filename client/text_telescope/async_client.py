"""The asyncio client: the methods of `text_telescope/client.py`, awaited.

async with AsyncTelescopeClient("http://127.0.0.1:8000") as telescope:
    sharp = await telescope.super_resolve(crop)
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar, overload

import httpx

from text_telescope.base import BaseClient, OnError, Regions, check_choice, in_order, plain_regions, with_errors
from text_telescope.exchange import BadImage, Exchange, Reply
from text_telescope.pictures import Answer, as_given, as_list, is_one
from text_telescope.second_opinion import SecondOpinions, given_limits

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from text_telescope.base import CropParameters, PageParameters, Raise, RaiseOrKeep, ReadParameters, Return
    from text_telescope.page import PageResult
    from text_telescope.pictures import File, Picture, Pixels
    from text_telescope.second_opinion import Reader, Reading

T = TypeVar("T")


class AsyncTelescopeClient(BaseClient[httpx.AsyncClient]):
    """For one event loop. Threads read files, encode and decode. Close it by `close` or `async with`."""

    _http_kind = httpx.AsyncClient
    _loop: asyncio.AbstractEventLoop | None = None  # of the connections

    @overload
    async def super_resolve(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, images: File, *, errors: Raise = "raise", **options: Unpack[CropParameters]
    ) -> Answer: ...
    @overload
    async def super_resolve(  # type: ignore[overload-overlap]  # an array is iterable
        self, images: Pixels, *, errors: RaiseOrKeep = "raise", **options: Unpack[CropParameters]
    ) -> Pixels: ...
    @overload
    async def super_resolve(
        self, images: Iterable[File], *, errors: Raise = "raise", **options: Unpack[CropParameters]
    ) -> list[Answer]: ...
    @overload
    async def super_resolve(
        self, images: Iterable[Pixels], *, errors: RaiseOrKeep = "raise", **options: Unpack[CropParameters]
    ) -> list[Pixels]: ...
    @overload
    async def super_resolve(
        self, images: Iterable[File], *, errors: Return, **options: Unpack[CropParameters]
    ) -> list[Answer | BadImage]: ...
    @overload
    async def super_resolve(
        self, images: Iterable[Pixels], *, errors: Return, **options: Unpack[CropParameters]
    ) -> list[Pixels | BadImage]: ...
    @overload  # several kinds in one list, or files that are kept
    async def super_resolve(
        self, images: Picture | Iterable[Picture], *, errors: OnError = "raise", **options: Unpack[CropParameters]
    ) -> Any: ...  # noqa: ANN401
    async def super_resolve(
        self, images: Any, *, errors: OnError = "raise", **options: Unpack[CropParameters]
    ) -> Any:
        """As `TelescopeClient.super_resolve`."""
        check_choice("errors", errors, "raise", "return", "keep")
        pictures = as_list(images)
        results = await asyncio.to_thread(self._results, pictures, await self.answers(pictures, **options), errors)
        return results[0] if is_one(images) else results

    async def answers(
        self, images: Picture | Iterable[Picture], **options: Unpack[CropParameters]
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
        self, page: File, regions: Regions, *, errors: Raise = "raise", **options: Unpack[PageParameters]
    ) -> list[Answer]: ...
    @overload
    async def regions(
        self, page: Pixels, regions: Regions, *, errors: Raise = "raise", **options: Unpack[PageParameters]
    ) -> list[Pixels]: ...
    @overload
    async def regions(
        self, page: File, regions: Regions, *, errors: Return, **options: Unpack[PageParameters]
    ) -> list[Answer | BadImage]: ...
    @overload
    async def regions(
        self, page: Pixels, regions: Regions, *, errors: Return, **options: Unpack[PageParameters]
    ) -> list[Pixels | BadImage]: ...
    async def regions(
        self, page: Any, regions: Regions, *, errors: OnError = "raise", **options: Unpack[PageParameters]
    ) -> list[Any]:
        """As `TelescopeClient.regions`."""
        check_choice("errors", errors, "raise", "return")
        given = plain_regions(regions)
        if not given:
            return []
        found = await self._drive(await asyncio.to_thread(self._of_regions, page, given, options))
        return await asyncio.to_thread(self._results, [page] * len(found), with_errors(found), errors)

    @overload
    async def recompose(self, page: File, regions: Regions, **options: Unpack[PageParameters]) -> Answer: ...
    @overload
    async def recompose(self, page: Pixels, regions: Regions, **options: Unpack[PageParameters]) -> Pixels: ...
    async def recompose(self, page: Any, regions: Regions, **options: Unpack[PageParameters]) -> Any:
        """As `TelescopeClient.recompose`."""
        steps = await asyncio.to_thread(self._of_page, page, plain_regions(regions), options)
        return await asyncio.to_thread(as_given, await self._drive(steps), page, self._channels)

    @overload
    async def page(self, page: File, **options: Unpack[ReadParameters]) -> PageResult[Answer]: ...
    @overload
    async def page(self, page: Pixels, **options: Unpack[ReadParameters]) -> PageResult[Pixels]: ...
    async def page(self, page: Any, **options: Unpack[ReadParameters]) -> PageResult[Any]:
        """As `TelescopeClient.page`."""
        found = await self._drive(await asyncio.to_thread(self._of_reading, page, options))
        return await asyncio.to_thread(found.in_kind_of, page, self._channels)

    async def read(
        self,
        crops: Iterable[Picture],
        reader: Reader,
        *,
        recogniser: str = "any",
        below: float | None = None,
        margin: float | None = None,
        model: str | None = None,
        errors: RaiseOrKeep = "keep",
    ) -> list[Reading]:
        """As `TelescopeClient.read`. A reader that is no coroutine function runs in a thread."""
        task = SecondOpinions(as_list(crops), errors=errors, channels=self._channels)
        with task.asking():
            own = given_limits(below, margin)
            task.use(own if own else await self._drive(self._of_limits(recogniser, model)))
        task.take_plain(await _read(reader, task.crops) if task.crops else [])
        with task.asking():
            answers = await self.answers(task.unsure, recogniser=recogniser, mode="always", model=model)
            await asyncio.to_thread(task.take_answers, answers)
        if task.changed:
            task.take_second(await _read(reader, task.changed))
        return task.readings()

    async def _drive(self, steps: Exchange[T]) -> T:
        reply: Reply = None
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise RuntimeError(
                f"An {type(self).__name__} works in one event loop; make one in each asyncio.run()."
            )
        self._loop = loop
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


async def _read(reader: Reader, crops: list[Any]) -> Any:  # noqa: ANN401  the caller's
    if inspect.iscoroutinefunction(reader):
        return await reader(crops)
    return await asyncio.to_thread(reader, crops)
