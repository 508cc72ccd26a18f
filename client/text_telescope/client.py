"""Text Telescope from Python, over HTTP: one picture or thousands, with threads or asyncio.

    with TelescopeClient("http://127.0.0.1:8000") as telescope:
        telescope.super_resolve("crop.png").save("sharp.png")
        sharp = telescope.super_resolve(crop)            # uint8 (H, W, 3) -> (2H, 2W, 3)
        many = telescope.super_resolve([crop, image])    # in order, in as few requests as the limits allow
        text = telescope.page("page.jpg").text           # the service finds the lines and reads them
    lines = telescope.regions(page, quadrilaterals)  # a page and where a detector found its text
        readings = telescope.read(crops, reader, recogniser="tesseract")  # sends only unsure crops

A picture goes in as an array (uint8; colour (H, W, 3), with alpha (H, W, 4), or grey (H, W)), a PIL image, a path,
a file opened in binary mode, or the bytes of a file. The result is of the same kind: an array, a PIL image, or
for a path, file object or bytes an `Answer`, which holds an image file. A PIL image of one frame gives the same
result as its file, upright by its EXIF orientation; one with levels of 32 bits raises TypeError.
Requests that a busy service refuses (429, 503) or a broken connection loses are sent again within `timeout_s`;
computing one twice does no harm. The error tree is drawn in `text_telescope/exchange.py`.
`text_telescope/async_client.py` has the same methods for asyncio.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
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


class TelescopeClient(BaseClient[httpx.Client]):
    """Blocking; threads may share it. Holds one connection pool; close it by `close` or `with`."""

    _http_kind = httpx.Client

    @overload
    def super_resolve(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, images: File, *, errors: Raise = "raise", **options: Unpack[CropParameters]
    ) -> Answer: ...
    @overload
    def super_resolve(  # type: ignore[overload-overlap]  # an array is iterable
        self, images: Pixels, *, errors: RaiseOrKeep = "raise", **options: Unpack[CropParameters]
    ) -> Pixels: ...
    @overload
    def super_resolve(
        self, images: Iterable[File], *, errors: Raise = "raise", **options: Unpack[CropParameters]
    ) -> list[Answer]: ...
    @overload
    def super_resolve(
        self, images: Iterable[Pixels], *, errors: RaiseOrKeep = "raise", **options: Unpack[CropParameters]
    ) -> list[Pixels]: ...
    @overload
    def super_resolve(
        self, images: Iterable[File], *, errors: Return, **options: Unpack[CropParameters]
    ) -> list[Answer | BadImage]: ...
    @overload
    def super_resolve(
        self, images: Iterable[Pixels], *, errors: Return, **options: Unpack[CropParameters]
    ) -> list[Pixels | BadImage]: ...
    @overload  # several kinds in one list, or files that are kept
    def super_resolve(
        self, images: Picture | Iterable[Picture], *, errors: OnError = "raise", **options: Unpack[CropParameters]
    ) -> Any: ...  # noqa: ANN401
    def super_resolve(self, images: Any, *, errors: OnError = "raise", **options: Unpack[CropParameters]) -> Any:
        """One picture, or an iterable of them -> the same kind at twice the size, or a list of them in order.

        An array gives uint8 (2H, 2W, 3), a PIL image one in RGB, a path, a file object or bytes an `Answer`.
        With `recogniser`, a crop that it would not read better super-resolved comes back at its own size.

        errors: for an image that fails: "raise" its BadImage, "return" the BadImage in its place, or "keep" the
            picture as given, so that a pipeline goes on; "keep" also replaces merely enlarged results.
        Raises another TelescopeError if a whole request failed, TypeError for an object that is no picture, and
        ImportError for an array without Pillow.
        """
        check_choice("errors", errors, "raise", "return", "keep")
        pictures = as_list(images)
        results = self._results(pictures, self.answers(pictures, **options), errors)
        return results[0] if is_one(images) else results

    def answers(
        self, images: Picture | Iterable[Picture], **options: Unpack[CropParameters]
    ) -> list[Answer | BadImage]:
        """One result per image of any kind, in order: the encoded picture with method and reason, or a BadImage.

        Raises as `super_resolve` does.
        """
        encoded = self._encoded(as_list(images))
        exchanges = list(self._of_crops(encoded, options))
        if len(exchanges) == 1:  # in the caller's thread, so that Ctrl-C ends it at once
            return in_order(encoded, iter(self._drive(exchanges[0])))
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="telescope") as pool:
            found = pool.map(self._drive, exchanges)
            return in_order(encoded, chain.from_iterable(found))

    @overload
    def regions(
        self, page: File, regions: Regions, *, errors: Raise = "raise", **options: Unpack[PageParameters]
    ) -> list[Answer]: ...
    @overload
    def regions(
        self, page: Pixels, regions: Regions, *, errors: Raise = "raise", **options: Unpack[PageParameters]
    ) -> list[Pixels]: ...
    @overload
    def regions(
        self, page: File, regions: Regions, *, errors: Return, **options: Unpack[PageParameters]
    ) -> list[Answer | BadImage]: ...
    @overload
    def regions(
        self, page: Pixels, regions: Regions, *, errors: Return, **options: Unpack[PageParameters]
    ) -> list[Pixels | BadImage]: ...
    def regions(
        self, page: Any, regions: Regions, *, errors: OnError = "raise", **options: Unpack[PageParameters]
    ) -> list[Any]:
        """Regions of a page -> a list in order, each of the page's kind, upright and at twice its size.

        regions: quadrilaterals [[x, y], ...] clockwise from the text's top left, or boxes [x0, y0, x1, y1], in
            pixels of the page held upright. None or none of them -> [], without a request.
        errors: "raise" or "return", as for `super_resolve`, for each region.
        """
        check_choice("errors", errors, "raise", "return")
        given = plain_regions(regions)
        if not given:  # a page without text needs no request
            return []
        found = with_errors(self._drive(self._of_regions(page, given, options)))
        return self._results([page] * len(found), found, errors)

    @overload
    def recompose(self, page: File, regions: Regions, **options: Unpack[PageParameters]) -> Answer: ...
    @overload
    def recompose(self, page: Pixels, regions: Regions, **options: Unpack[PageParameters]) -> Pixels: ...
    def recompose(self, page: Any, regions: Regions, **options: Unpack[PageParameters]) -> Any:
        """The page at twice its size, of the same kind: its regions super-resolved, the rest enlarged.

        A region that the service refuses is only enlarged; `regions` gives its error.
        """
        return as_given(self._drive(self._of_page(page, plain_regions(regions), options)), page, self._channels)

    @overload
    def page(self, page: File, **options: Unpack[ReadParameters]) -> PageResult[Answer]: ...
    @overload
    def page(self, page: Pixels, **options: Unpack[ReadParameters]) -> PageResult[Pixels]: ...
    def page(self, page: Any, **options: Unpack[ReadParameters]) -> PageResult[Any]:
        """The lines of a page, found and read by the service, and with `recompose` its picture.

        read: True by default. The service reads every line with PP-OCRv6. A line that it is unsure of is
            super-resolved and read again, and the surer reading is kept. False finds the lines without reading.
        recompose: also `picture`, the page at twice its size with the lines that gained in their places.
        pictures: also `picture` of every line; False by default, since they are most of the response.
        mode: "always" super-resolves every line and reads it twice.
        recogniser: without `read`, the reader of the lines, as for `super_resolve`.
        layout: "page" detects lines in any picture, "line" takes the whole picture for one line, and "auto", the
            default, takes small pictures of a line's form for one.
        Raises TelescopeError: BadRequest for a page that cannot be used, ServerError if the service cannot read.
        """
        found = self._drive(self._of_reading(page, options))
        return found.in_kind_of(page, self._channels)

    def read(
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
        """The reader's readings of crops, with a second opinion from the super-resolved ones that it is unsure of.

        crops: arrays, PIL images or the bytes of files; the reader gets super-resolved ones of the same kind.
        reader: takes a list of crops and returns (text, confidence) for each, the confidence from 0 to 1.
        recogniser: the reader as the service names it, such as "tesseract", for its rule and its limits; "any" has
            limits that suit every reader that was measured.
        below, margin: instead of the service's limits: the confidence under which a crop is sent, and by how much
            the second reading must be more confident to be kept.
        errors: "keep" the plain readings where the service fails, each `Reading.error` saying how, or "raise".
        Raises ValueError for a recogniser without limits and for results that are no (text, confidence),
        BadRequest for a wrong request, and TypeError for a crop of another kind. The reader's own exceptions pass.
        """
        task = SecondOpinions(as_list(crops), errors=errors, channels=self._channels)
        with task.asking():
            own = given_limits(below, margin)
            task.use(own or self._drive(self._of_limits(recogniser, model)))
        task.take_plain(reader(task.crops) if task.crops else [])
        with task.asking():
            task.take_answers(self.answers(task.unsure, recogniser=recogniser, mode="always", model=model))
        if task.changed:
            task.take_second(reader(task.changed))
        return task.readings()

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
