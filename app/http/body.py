"""A request's body -> the images in it, with every limit checked while the bytes arrive.

multipart/form-data                     crops: one or more parts named `image`; a page: `image` and `regions`
application/json                        the same in JSON, the pictures in base64 (app/http/base64_json.py)
image/*, UNTYPED or no Content-Type     the bytes of one crop
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.batching.capacity import Capacity, Lease
from app.errors import (
    BadInput,
    ClientDisconnected,
    EmptyBody,
    InvalidParameter,
    Overloaded,
    TooManyBytes,
    TooManyImages,
    TooManyPixels,
    UndecodableImage,
    UnsupportedFormat,
    UnsupportedMediaType,
    UploadTimedOut,
)
from app.http.base64_json import PAGE_CALL as JSON_PAGE_CALL
from app.http.base64_json import read_crops, read_page
from app.http.misplaced import JSON_CALL, misplaced_text
from app.http.multipart import read_parts
from app.http.query import timeout_s
from app.serving.model_service import ServedModel, Upload
from app.settings import Settings

R = TypeVar("R")
T = TypeVar("T")
IMAGE = "image"
REGIONS = "regions"
JSON = "application/json"
UNTYPED = (
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/x-www-form-urlencoded",
)  # curl's own
MAX_REGIONS_BYTES = 1024 * 1024  # of their JSON; a thousand regions take a tenth
SHORT_JSON_BYTES = 64 * 1024  # read and decoded on the event loop, in 0.3 ms; a thread takes about 0.1 ms to reach
PART_CALL = f"curl -F {IMAGE}=@crop.png"
BARE_CALL = "curl --data-binary @crop.png -H 'Content-Type: image/png'"
PAGE_CALL = f"curl -F {IMAGE}=@page.png -F {REGIONS}=@boxes.json"


class Body:
    """The body of one request, to be read within its limits. deadline: on `time.monotonic`."""

    def __init__(self, request: Request, model: ServedModel, lease: Lease, *, timeout_s: float) -> None:
        """lease: of the capacity for bodies. model: computes the time to wait when that is used up."""
        self.deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._request = request
        self._model = model
        self._lease = lease
        self._settings: Settings = request.app.state.settings
        self._media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._source, self._call = f"The part '{IMAGE}'", PART_CALL

    async def images(self, *, max_images: int | None = None) -> list[Upload]:
        """The images, in order. max_images: None takes the setting.

        Raises the BadInput that names the fault, Overloaded or UploadTimedOut.
        """
        if self._media_type == JSON:
            return await self.json_images(max_images=max_images)
        expected = f"parts named '{IMAGE}' ({PART_CALL}), the image itself ({BARE_CALL}), or base64 ({JSON_CALL})"
        if self._media_type.startswith("image/") or self._media_type in UNTYPED:
            self._source, self._call = "The body", BARE_CALL
            data = await self.read()
            if self._media_type in UNTYPED and (found := misplaced_text(data) if data else "nothing"):
                raise self._unsupported(f"multipart/form-data with {expected}", f", and the body holds {found}")
            return [Upload(data)]
        most = max_images or self._settings.max_images
        parts = await self._multipart(expected, (IMAGE,), most, _too_many(most))
        if not parts:
            raise EmptyBody(f"The multipart body has no part named '{IMAGE}'; send {expected}.")
        return [upload for _, upload in parts]

    async def json_images(self, *, max_images: int | None = None, call: str = JSON_CALL) -> list[Upload]:
        """The images of a JSON body, as `images`. call: the right call, for error messages."""
        most = max_images or self._settings.max_images
        read = partial(read_crops, max_images=most, too_many=_too_many(most), call=call)
        return await self.json(read, call=call)

    async def json(self, read: Callable[[bytes], T], *, call: str) -> T:
        """What `read` makes of a JSON body; it is called in a worker thread if the body is long.

        call: the right call, for error messages. Raises as `images` does.
        """
        if self._media_type != JSON:
            raise self._unsupported(f"{JSON} ({call})")
        self._source, self._call = "The base64", call
        data = await self.read()
        self._take(len(data))  # a body and its strings are in memory together
        return read(data) if len(data) <= SHORT_JSON_BYTES else await asyncio.to_thread(read, data)

    async def read(self) -> bytes:
        """The body as it is. Raises TooManyBytes, Overloaded, UploadTimedOut or ClientDisconnected."""
        async with self._arrival():
            return b"".join([chunk async for chunk in self._chunks()])

    async def page(self) -> tuple[Upload, bytes]:
        """A page and the JSON of its regions. Raises as `images` does."""
        if self._media_type == JSON:
            page, listed = await self.json(read_page, call=JSON_PAGE_CALL)
        else:
            page, listed = await self._multipart_page()
        if len(listed) > MAX_REGIONS_BYTES:
            raise TooManyBytes(f"'{REGIONS}' is larger than {MAX_REGIONS_BYTES} bytes.")
        return page, listed

    async def _multipart_page(self) -> tuple[Upload, bytes]:
        self._call = PAGE_CALL
        expected = f"one part '{IMAGE}', the page, and one part '{REGIONS}', the JSON of its boxes ({PAGE_CALL})"
        too_many = f"One request takes {expected}; send each page in a request of its own."
        parts = await self._multipart(expected, (IMAGE, REGIONS), 2, too_many)
        named = dict(parts)
        if len(named) < 2:
            found = " and ".join(repr(name) for name, _ in parts) or "no part"
            raise InvalidParameter(f"The multipart body has {found}; send {expected}.")
        listed = named[REGIONS].data
        if not listed.strip():
            raise InvalidParameter(f"The part '{REGIONS}' is empty; send [] for a page without text: {PAGE_CALL}.")
        if not listed.lstrip().startswith((b"[", b"{", b"null")) and (text := misplaced_text(listed)):
            raise InvalidParameter(f"The part '{REGIONS}' holds {text}. Send the JSON itself: {PAGE_CALL}.")
        return named[IMAGE], listed

    def advised(self, result: R, upload: Upload, *, too_large: str = "") -> R | BadInput:
        """The result; an error with the right call, if the upload shows how the caller went wrong.

        too_large: the advice for a picture with too many pixels.
        """
        plain = isinstance(result, UndecodableImage) and not upload.filename
        if isinstance(result, UndecodableImage | UnsupportedFormat) and (
            text := misplaced_text(upload.data, plain=plain, in_json=self._media_type == JSON)
        ):
            return UndecodableImage(f"{self._source} holds {text}. Send the picture itself: {self._call}.")
        if isinstance(result, TooManyPixels):
            return TooManyPixels(f"{result} {too_large}".rstrip())
        return result

    @contextmanager
    def advising(self, upload: Upload, *, too_large: str = "") -> Iterator[None]:
        """Raises the upload's own error, or the errors of the context as `advised` completes them."""
        if upload.fault:
            raise upload.fault
        try:
            yield
        except BadInput as exc:
            raise self.advised(exc, upload, too_large=too_large) from exc.__cause__

    async def _multipart(
        self, expected: str, names: tuple[str, ...], max_parts: int, too_many: str
    ) -> list[tuple[str, Upload]]:
        """The parts in order, with their names. too_many: the message for more than `max_parts`."""
        if self._media_type != "multipart/form-data":
            raise self._unsupported(f"multipart/form-data with {expected}")

        def check(name: str, parts: int) -> None:
            if name not in names:
                raise InvalidParameter(
                    f"The multipart body has a part named {name[:100]!r}; send {expected}. Parameters go into the "
                    "address (?format=jpeg)."
                )
            if parts > max_parts:
                raise TooManyImages(too_many)

        async with self._arrival():
            return await read_parts(self._request.headers, self._chunks(), check)

    def _unsupported(self, expected: str, found: str = "") -> UnsupportedMediaType:
        named = self._media_type[:100] or "missing"
        return UnsupportedMediaType(f"Content-Type is {named}{found}; send {expected}.")

    @asynccontextmanager
    async def _arrival(self) -> AsyncIterator[None]:
        """Raises UploadTimedOut at the deadline."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError as exc:
            raise UploadTimedOut("The body did not arrive within the request's deadline.") from exc

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. A declared length over the limit is refused before the first chunk."""
        max_bytes = self._settings.max_request_bytes
        message = f"The body is larger than {max_bytes} bytes; send fewer or smaller images in one request."
        declared = self._request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > max_bytes:
            raise TooManyBytes(message)
        received = 0
        try:
            async for chunk in self._request.stream():
                received += len(chunk)
                if received > max_bytes:
                    raise TooManyBytes(message)
                self._take(len(chunk))
                yield chunk
        except ClientDisconnect as exc:
            raise ClientDisconnected("The client went away while sending.") from exc

    def _take(self, nbytes: int) -> None:
        """Raises Overloaded."""
        if not self._lease.take(nbytes):
            raise self._model.batcher.overloaded("Too many bodies are being received")


@contextmanager
def receive(request: Request, model: ServedModel) -> Iterator[Body]:
    """The body to read, and the memory for it until the end of the context; its deadline counts from here.

    Raises NotReady, Overloaded, or InvalidParameter for a wrong deadline, before a byte is read.
    """
    allowed_s = timeout_s(request)
    model.batcher.check_capacity()
    capacity: Capacity = request.app.state.capacity
    if capacity.unsent_bytes.is_full:
        retry_after_s = math.ceil(request.app.state.settings.answer_timeout_s)  # unread connections are cut then
        raise Overloaded(
            f"{capacity.unsent_bytes.used} bytes of responses wait for clients that do not read them; try again "
            f"in {retry_after_s} s.",
            retry_after_s=retry_after_s,
        )
    with capacity.body_bytes.lease() as lease:
        yield Body(request, model, lease, timeout_s=allowed_s)


def _too_many(most: int) -> str:
    images = "image is" if most == 1 else "images are"
    return f"At most {most} {images} taken in one request; send the others in further requests."
