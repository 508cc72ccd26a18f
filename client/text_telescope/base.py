"""What the blocking client and that of asyncio share: everything but waiting."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Literal, TypedDict, TypeVar

import httpx

from text_telescope.exchange import (
    BadImage,
    BadRequest,
    Entry,
    Exchange,
    Problem,
    Unreachable,
    entries,
    picture,
    split,
)
from text_telescope.pictures import Answer, Channels, Picture, encode

CONNECT_S = 5.0  # long enough for any network that is worth sending pictures over
OrElse = Literal["raise", "return", "keep"]
Regions = Sequence[Any]  # each as a text detector returns it; the spellings: app/regions.py
H = TypeVar("H", httpx.Client, httpx.AsyncClient)
_FEWER_IMAGES = {"too_many_images", "too_many_bytes", "request_too_large", "http_error"}
_FEWER_REGIONS = {"too_many_regions", "request_too_large"}  # not bytes: it is the page that is too large


class Wish(TypedDict, total=False):
    """Parameters of a request, explained by the service's page /docs; left out, the service's defaults."""

    mode: Literal["auto", "always"]
    recogniser: str | None  # who is to read the answers, or "any": each crop as that one reads it best
    format: Literal["png", "jpeg", "webp"]  # of `Answer.data`, and of the pictures on their way back
    model: str | None  # `name` or `name:version`


class CropWish(Wish, total=False):
    geometry: Literal["native", "telescope"]


class PageWish(Wish, total=False):
    units: Literal["pixels", "relative"]  # of the regions; docTR's are relative to the page


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
        """Opens no connection yet. Raises Unreachable for an address that is none, BadRequest for such a key.

        timeout_s: for each request from its first try to its answer, waits and further tries included.
        concurrency: requests at once in a call; two, so that one is computed while another is on its way.
        max_images: of one request; as many as the service computes at once. It takes more (64, by default), but
            then the last of them miss the deadline of a slow service sooner, and nothing is gained.
        max_request_bytes: of one request; the service's own default. Where the service allows less, the client
            finds out, at the price of bodies sent in vain.
        channels: of arrays, in and out; OpenCV and the PP-OCR packages use "bgr".
        api_key: where the service asks for one; sent to that address alone, redirects are not followed.
        """
        if not url.startswith(("http://", "https://")):
            raise Unreachable(f"The address {url!r} does not begin with http:// or https://.")
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

    def _encoded(self, images: Iterable[Picture]) -> list[bytes | Problem]:
        """Blocking. A file that cannot be read is one image's problem, and not the others'."""
        encoded: list[bytes | Problem] = []
        for image in images:
            try:
                encoded.append(encode(image, self._channels))
            except OSError as exc:
                encoded.append(Problem(0, "unreadable_file", str(exc)))
        return encoded

    def _of_crops(self, encoded: Iterable[bytes | Problem], wish: CropWish) -> Iterator[Exchange[list[Entry]]]:
        """An exchange for each request that the images need."""

        def ask(part: Sequence[bytes], left_s: float) -> httpx.Request:
            files = [("image", ("image", image)) for image in part]
            return self._request("", wish, left_s, files=files)

        good = [image for image in encoded if isinstance(image, bytes)]
        for part in split(good, max_images=self._max_images, max_bytes=self._max_request_bytes):
            yield entries(part, ask, timeout_s=self._timeout_s, halved_on=_FEWER_IMAGES)

    def _of_regions(self, page: Picture, regions: Regions, wish: PageWish) -> Exchange[list[Entry]]:
        """Blocking: the page is encoded."""
        file = self._page(page)

        def ask(part: Sequence[Any], left_s: float) -> httpx.Request:
            return self._request("/regions", wish, left_s, files=file, data={"regions": _json(part)})

        return entries(regions, ask, timeout_s=self._timeout_s, halved_on=_FEWER_REGIONS)

    def _of_page(self, page: Picture, regions: Regions, wish: PageWish) -> Exchange[Answer]:
        """Blocking: the page is encoded."""
        ask = partial(
            self._request, "/regions", {**wish, "recompose": "true"}, accept="image/*",
            files=self._page(page), data={"regions": _json(regions)},
        )  # fmt: skip
        return picture(ask, timeout_s=self._timeout_s)

    def _page(self, page: Picture) -> list[tuple[str, tuple[str, bytes]]]:
        (file,) = self._encoded([page])
        if isinstance(file, Problem):
            raise BadImage(0, file)
        return [("image", ("page", file))]

    def _request(
        self,
        path: str,
        wish: Mapping[str, object],
        left_s: float,
        *,
        files: list[tuple[str, tuple[str, bytes]]],
        data: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> httpx.Request:
        left_s = max(left_s, 0.001)
        return self._http.build_request(
            "POST",
            f"/v1/super-resolve{path}",
            params={name: str(value) for name, value in wish.items() if value is not None},
            files=files,
            data=data,
            headers={"Accept": accept, "X-Request-Timeout-Ms": str(math.ceil(1000 * left_s))},
            timeout=httpx.Timeout(left_s, connect=min(left_s, CONNECT_S)),
        )

    def _arrays(self, asked: Sequence[Any], answers: Sequence[Answer | BadImage], or_else: OrElse) -> list[Any]:
        """Blocking."""
        arrays: list[Any] = []
        for one, answer in zip(asked, answers, strict=True):
            no_better = isinstance(answer, BadImage) or answer.method != "super_resolved"
            if or_else == "keep" and no_better:
                arrays.append(one)  # a recogniser reads its own enlargement as well as any other
            elif isinstance(answer, Answer):
                arrays.append(answer.array(self._channels))
            elif or_else == "return":
                arrays.append(answer)
            else:
                raise answer
        return arrays


def told(found: Sequence[Entry]) -> list[Answer | BadImage]:
    return [BadImage(i, entry) if isinstance(entry, Problem) else entry for i, entry in enumerate(found)]


def in_order(encoded: Sequence[bytes | Problem], found: Iterator[Entry]) -> list[Answer | BadImage]:
    """The entries of all requests, with the problems found before any was sent at their places."""
    return told([one if isinstance(one, Problem) else next(found) for one in encoded])


def _json(regions: Regions) -> str:
    return json.dumps(regions, default=lambda array: array.tolist())  # NumPy's arrays and numbers
