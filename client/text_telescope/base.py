"""The common part of the blocking client and the asyncio client: everything except sending and sleeping."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypedDict, TypeVar
from urllib.parse import quote

import httpx

from text_telescope.exchange import (
    BadImage,
    BadRequest,
    Entry,
    Exchange,
    Problem,
    Unreachable,
    entries,
    read_model,
    read_picture,
    single,
    split,
)
from text_telescope.page import PageResult, read_page
from text_telescope.pictures import Answer, Channels, as_given, encode
from text_telescope.second_opinion import Limits, listed_limits

if TYPE_CHECKING:
    from text_telescope.pictures import Picture

CONNECT_S = 5.0  # a slower network is too slow for pictures anyway
MAX_TIMEOUT_S = 999_999  # as the service takes it, in milliseconds
ENDPOINT = "/v1/super-resolve"
Raise = Literal["raise"]
RaiseOrKeep = Literal["raise", "keep"]
Return = Literal["return"]
OnError = Literal["raise", "return", "keep"]
Regions = Iterable[Any] | None  # each as a text detector returns it: its corners or a box; None as no regions
H = TypeVar("H", httpx.Client, httpx.AsyncClient)
_FEWER_IMAGES = {"too_many_images", "too_many_bytes", "request_too_large", "http_error"}
_FEWER_REGIONS = {"too_many_regions", "request_too_large"}  # not too_many_bytes: each part carries the page


class Parameters(TypedDict, total=False):
    """Parameters of a request, explained at /docs of the service, which also has defaults for each."""

    mode: Literal["auto", "always"]
    recogniser: str | None  # the reader of the results, or "any"; only crops that it reads better change
    format: Literal["png", "jpeg", "webp"]  # of `Answer.data`
    model: str | None  # `name` or `name:version`


class CropParameters(Parameters, total=False):
    geometry: Literal["native", "telescope"]


class PageParameters(Parameters, total=False):
    units: Literal["pixels", "relative"]  # of the regions; docTR's are relative to the page


class ReadParameters(Parameters, total=False):
    """Of a page whose lines the service finds itself."""

    read: bool  # True: the lines are read, which needs the extra `ocr` of the service
    recompose: bool  # False; True: also the page at twice its size
    pictures: bool  # False; True: also the picture of every line
    layout: Literal["auto", "page", "line"]  # "line": the whole picture is one line


class BaseClient(Generic[H]):
    _http_kind: type[H]

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        timeout_s: float = 60,
        concurrency: int = 2,
        max_images: int = 16,
        max_request_bytes: int = 32 * 2**20,
        channels: Channels = "rgb",
        api_key: str | None = None,
    ) -> None:
        """Opens no connection yet.

        Raises Unreachable for a malformed address, BadRequest for a malformed key, and ValueError for another
        argument that is out of range.

        timeout_s: for each request, from its first try to its response, including pauses and retries.
        concurrency: simultaneous requests of one call; two, so that one is computed while another is sent.
        max_images: per request; the largest batch that the service computes at once. The service takes 64 by
            default, but more images per request gain nothing, and their last ones miss the deadline sooner.
        max_request_bytes: per request; the service's own default. If the service allows less, the client halves
            refused requests, which costs the bytes sent in vain.
        channels: of arrays, in and out; OpenCV and the PP-OCR packages use "bgr".
        api_key: if the service requires one; sent to this address only, since redirects are not followed.
        """
        url = str(url)
        if not url.startswith(("http://", "https://")):
            raise Unreachable(f"The address {url!r} does not begin with http:// or https://.")
        if url.rstrip("/").endswith(ENDPOINT):
            raise Unreachable(f"The address {url!r} is that of an endpoint; leave out {ENDPOINT}.")
        if not 0 < timeout_s <= MAX_TIMEOUT_S:
            raise ValueError(f"timeout_s is {timeout_s}; it must be more than 0 and at most {MAX_TIMEOUT_S}.")
        if min(concurrency, max_images) < 1:
            raise ValueError(f"concurrency is {concurrency} and max_images {max_images}; both must be at least 1.")
        check_choice("channels", channels, "rgb", "bgr")
        if api_key and not re.fullmatch("[!-~]+", api_key):
            raise BadRequest("The API key holds a space, a line end or another character that no header takes.")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            self._http: H = self._http_kind(base_url=url, headers=headers)
        except httpx.InvalidURL as exc:
            raise Unreachable(f"The address {url!r} cannot be read: {exc}.") from exc
        self._timeout_s = timeout_s
        self._concurrency = concurrency
        self._max_images = max_images
        self._max_request_bytes = max_request_bytes
        self._channels: Channels = channels

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"A {name} holds connections and cannot be pickled; make one in each process.")

    def _encoded(self, images: Iterable[Picture]) -> list[bytes | Problem]:
        """Blocking. A file that cannot be read becomes the Problem of its own image only."""
        encoded: list[bytes | Problem] = []
        for image in images:
            try:
                encoded.append(encode(image, self._channels))
            except OSError as exc:
                encoded.append(Problem(0, "unreadable_file", str(exc)))
        return encoded

    def _of_crops(
        self, encoded: Iterable[bytes | Problem], options: CropParameters
    ) -> Iterator[Exchange[list[Entry]]]:
        """One exchange per request needed for the images."""

        def build(part: Sequence[bytes], left_s: float) -> httpx.Request:
            files = [("image", ("image", image)) for image in part]
            return self._request("", options, left_s, files=files)

        good = [image for image in encoded if isinstance(image, bytes)]
        for part in split(good, max_images=self._max_images, max_bytes=self._max_request_bytes):
            yield entries(part, build, timeout_s=self._timeout_s, halved_on=_FEWER_IMAGES)

    def _of_regions(self, page: Picture, regions: list[Any], options: PageParameters) -> Exchange[list[Entry]]:
        """Blocking: encodes the page."""
        file = self._page(page)

        def build(part: Sequence[Any], left_s: float) -> httpx.Request:
            return self._request("/regions", options, left_s, files=file, data={"regions": json.dumps(part)})

        return entries(regions, build, timeout_s=self._timeout_s, halved_on=_FEWER_REGIONS)

    def _of_page(self, page: Picture, regions: list[Any], options: PageParameters) -> Exchange[Answer]:
        """Blocking: encodes the page."""
        build = partial(
            self._request, "/regions", {**options, "recompose": "true"}, accept="image/*",
            files=self._page(page), data={"regions": json.dumps(regions)},
        )  # fmt: skip
        return single(build, read_picture, timeout_s=self._timeout_s)

    def _of_reading(self, page: Picture, options: ReadParameters) -> Exchange[PageResult[Answer]]:
        """Blocking: encodes the page."""
        asked = {"read": True, "pictures": False, **options}
        build = partial(self._request, "/page", asked, files=self._page(page))
        return single(build, read_page, timeout_s=self._timeout_s)

    def _of_limits(self, recogniser: str, model: str | None) -> Exchange[Limits]:
        """Of second opinions. Raises ValueError if the model has none for the recogniser."""

        def build(left_s: float) -> httpx.Request:
            path = f"/v1/models/{quote(model)}" if model else "/v1/models"
            return self._http.build_request("GET", path, timeout=_timeout(left_s))

        return listed_limits((yield from single(build, read_model, timeout_s=self._timeout_s)), recogniser)

    def _page(self, page: Picture) -> list[tuple[str, tuple[str, bytes]]]:
        (file,) = self._encoded([page])
        if isinstance(file, Problem):
            raise BadImage(0, file)
        return [("image", ("page", file))]

    def _request(
        self,
        path: str,
        options: Mapping[str, object],
        left_s: float,
        *,
        files: list[tuple[str, tuple[str, bytes]]],
        data: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> httpx.Request:
        left_s = max(left_s, 0.001)
        return self._http.build_request(
            "POST",
            f"{ENDPOINT}{path}",
            params={name: _written(value) for name, value in options.items() if value is not None},
            files=files,
            data=data,
            headers={"Accept": accept, "X-Request-Timeout-Ms": str(math.ceil(1000 * left_s))},
            timeout=_timeout(left_s),
        )

    def _results(
        self, given: Sequence[Picture], answers: Sequence[Answer | BadImage], errors: OnError
    ) -> list[Any]:
        """Blocking. Each result is of the kind of its picture in `given`."""
        results: list[Any] = []
        for one, answer in zip(given, answers, strict=True):
            is_super_resolved = isinstance(answer, Answer) and answer.method == "super_resolved"
            if errors == "keep" and not is_super_resolved:
                results.append(one)  # a recogniser reads its own enlargement as well as any other
            elif isinstance(answer, Answer):
                results.append(as_given(answer, one, self._channels))
            elif errors == "return":
                results.append(answer)
            else:
                raise answer
        return results


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _timeout(left_s: float) -> httpx.Timeout:
    left_s = max(left_s, 0.001)
    return httpx.Timeout(left_s, connect=min(left_s, CONNECT_S))


def check_choice(name: str, value: str, *choices: str) -> None:
    """Raises ValueError."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be {' or '.join(map(repr, choices))}.")


def with_errors(results: Sequence[Entry]) -> list[Answer | BadImage]:
    return [BadImage(i, entry) if isinstance(entry, Problem) else entry for i, entry in enumerate(results)]


def in_order(encoded: Sequence[bytes | Problem], received: Iterator[Entry]) -> list[Answer | BadImage]:
    """One result per image, in order: its entry in a response, or the problem found before sending."""
    return with_errors([one if isinstance(one, Problem) else next(received) for one in encoded])


def plain_regions(regions: Regions) -> list[Any]:
    """Regions as lists of numbers. A number that is not finite becomes None, so that its region fails alone.

    Raises TypeError for an object that is neither a number nor a sequence of numbers.
    """
    plain = _plain(regions)
    if not isinstance(plain, list | None):
        raise TypeError(f"Regions must be a list or an array, and not a {type(regions).__name__}.")
    return plain or []


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # NumPy arrays and numbers, tensors
        return _plain(value.tolist())
    if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes):
        return [_plain(one) for one in value]
    raise TypeError(f"A {type(value).__name__} is no region; give its corners as [[x, y], ...] or a box.")
