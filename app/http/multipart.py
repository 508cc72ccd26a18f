"""A request's body -> the images in it, with every limit checked while the bytes arrive.

Crops come as multipart/form-data with one or more parts named `image`, or as the bare bytes of one image; a page
comes as multipart with one `image` and the JSON of its `regions`. A part is known by its name alone: many clients
give it no file name, or another Content-Type. A bare image may come without a Content-Type, or with the one that a
client sends of its own (UNTYPED). Starlette parses the multipart, in memory.
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from app.batching.capacity import Capacity, Lease
from app.errors import (
    BadInput,
    ClientDisconnected,
    EmptyBody,
    InvalidParameter,
    MalformedMultipart,
    Overloaded,
    TooManyBytes,
    TooManyImages,
    TooManyPixels,
    UndecodableImage,
    UnsupportedFormat,
    UnsupportedMediaType,
    UploadTimedOut,
)
from app.http.misplaced import misplaced_text
from app.http.query import timeout_s
from app.serving.model_service import ServedModel, Upload
from app.settings import Settings

R = TypeVar("R")
IMAGE = "image"
REGIONS = "regions"
UNTYPED = (
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/x-www-form-urlencoded",
)  # curl's own
MAX_REGIONS_BYTES = 1024 * 1024  # of their JSON; a thousand regions take a tenth
PART_CALL = f"curl -F {IMAGE}=@crop.png"
BARE_CALL = "curl --data-binary @crop.png -H 'Content-Type: image/png'"
PAGE_CALL = f"curl -F {IMAGE}=@page.png -F {REGIONS}=@boxes.json"
_FILENAME = re.compile(rb"filename\*\s*=\s*\"?utf-8'[^']*'([^;\"\s]+)", re.IGNORECASE)  # RFC 5987; .NET sends both


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
        expected = f"parts named '{IMAGE}' ({PART_CALL}), or the image itself ({BARE_CALL})"
        if self._media_type.startswith("image/") or self._media_type in UNTYPED:
            self._source, self._call = "The body", BARE_CALL
            async with self._arrival():
                data = b"".join([chunk async for chunk in self._chunks()])
            if self._media_type in UNTYPED and (found := misplaced_text(data) if data else "nothing"):
                raise self._unsupported(expected, f", and the body holds {found}")
            return [Upload(data)]
        most = max_images or self._settings.max_images
        images = "image is" if most == 1 else "images are"
        too_many = f"At most {most} {images} taken in one request; send the others in further requests."
        parts = await self._multipart(expected, (IMAGE,), most, too_many)
        if not parts:
            raise EmptyBody(f"The multipart body has no part named '{IMAGE}'; send {expected}.")
        return [upload for _, upload in parts]

    async def page(self) -> tuple[Upload, bytes]:
        """A page and the JSON of its regions. Raises as `images` does."""
        self._call = PAGE_CALL
        expected = f"one part '{IMAGE}', the page, and one part '{REGIONS}', the JSON of its boxes ({PAGE_CALL})"
        too_many = f"One request takes {expected}; send each page in a request of its own."
        parts = await self._multipart(expected, (IMAGE, REGIONS), 2, too_many)
        named = dict(parts)
        listed = named[REGIONS].data if REGIONS in named else b""
        if len(listed) > MAX_REGIONS_BYTES:
            raise TooManyBytes(f"The part '{REGIONS}' is larger than {MAX_REGIONS_BYTES} bytes.")
        if len(named) < 2:
            found = " and ".join(repr(name) for name, _ in parts) or "no part"
            raise InvalidParameter(f"The multipart body has {found}; send {expected}.")
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
            text := misplaced_text(upload.data, plain=plain)
        ):
            return UndecodableImage(f"{self._source} holds {text}. Send the picture itself: {self._call}.")
        if isinstance(result, TooManyPixels):
            return TooManyPixels(f"{result} {too_large}".rstrip())
        return result

    @contextmanager
    def advising(self, upload: Upload, *, too_large: str = "") -> Iterator[None]:
        """Raises the errors of the context as `advised` completes them."""
        try:
            yield
        except BadInput as exc:
            raise self.advised(exc, upload, too_large=too_large) from exc.__cause__

    async def _multipart(
        self, expected: str, names: tuple[str, ...], max_parts: int, too_many: str
    ) -> list[tuple[str, Upload]]:
        """The parts in order, with their names. too_many: the message for more than `max_parts`."""
        if self._media_type != "multipart/form-data":
            raise self._unsupported(expected)

        def check(name: str, parts: int) -> None:
            if name not in names:
                raise InvalidParameter(
                    f"The multipart body has a part named {name[:100]!r}; send {expected}. Parameters go into the "
                    "address (?format=jpeg)."
                )
            if parts > max_parts:
                raise TooManyImages(too_many)

        try:
            async with self._arrival():
                form = await _InMemoryParser(self._request.headers, self._chunks(), check).parse()
        except MultiPartException as exc:
            reason = str(exc.__cause__ or exc.message).rstrip(".")
            if "boundary" not in self._request.headers["content-type"].lower():
                reason = "its Content-Type names no boundary; leave that header to the HTTP library"
            raise MalformedMultipart(f"The multipart body cannot be read: {reason}.") from exc
        try:
            return [(name, _upload(value)) for name, value in form.multi_items()]
        finally:
            await form.close()

    def _unsupported(self, expected: str, found: str = "") -> UnsupportedMediaType:
        named = self._media_type[:100] or "missing"
        return UnsupportedMediaType(f"Content-Type is {named}{found}; send multipart/form-data with {expected}.")

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
                if not self._lease.take(len(chunk)):
                    raise self._model.batcher.overloaded("Too many bodies are being received")
                yield chunk
        except ClientDisconnect as exc:
            raise ClientDisconnected("The client went away while sending.") from exc


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, but all parts are files in memory, and a body without its closing boundary is malformed.

    Starlette would decode a part without a file name as text, which destroys a picture.
    """

    spool_max_size = 2**40  # bytes: never a file on the disk; the body's own limits hold
    _complete = False

    def __init__(
        self, headers: Headers, stream: AsyncGenerator[bytes, None], check: Callable[[str, int], None]
    ) -> None:
        """check: raises for a part that is not expected, given its name and the number of parts so far."""
        # Names are UTF-8 (RFC 7578, 5.1), or Latin-1 as a fallback; the charset that the body claims is ignored.
        content_type = re.sub(r";\s*charset=[^;]*", "", headers["content-type"], flags=re.IGNORECASE)
        boundary = b"--" + parse_options_header(content_type)[1].get(b"boundary", b"")
        stream = _without_preamble(stream, boundary)
        super().__init__(Headers({"Content-Type": content_type}), stream, max_files=math.inf)
        self._check = check

    def on_headers_finished(self) -> None:
        part = self._current_part
        disposition = part.content_disposition or b""
        part.content_disposition = b'form-data; filename=""; ' + disposition  # its own file name comes later
        super().on_headers_finished()
        self._check(part.field_name, self._current_files)
        if part.file and not part.file.filename and (extended := _FILENAME.search(disposition)):
            part.file.filename = unquote_to_bytes(extended[1]).decode(errors="replace")

    def on_end(self) -> None:
        self._complete = True

    async def parse(self) -> FormData:
        form = await super().parse()
        if not self._complete:  # the last image may be cut off
            for file in self._files_to_close_on_error:
                file.close()
            raise MalformedMultipart("The multipart body ends before its closing boundary.")
        return form


async def _without_preamble(chunks: AsyncGenerator[bytes, None], boundary: bytes) -> AsyncGenerator[bytes, None]:
    """The body from its first boundary on. RFC 2046, 5.1.1, allows text before it; python-multipart does not."""
    head = b""
    async for chunk in chunks:
        head = head[-len(boundary) :] + chunk
        if (start := head.find(boundary)) >= 0:
            yield head[start:]
            break
    else:
        named = boundary[2:72].decode(errors="replace")
        raise MalformedMultipart(
            f"The multipart body has no boundary {named!r}, which its Content-Type names; leave that header to "
            "the HTTP library."
        )
    async for chunk in chunks:
        yield chunk


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


def _upload(value: UploadFile | str) -> Upload:
    assert isinstance(value, UploadFile), "the parser makes every part a file"
    return Upload(value.file.read(), value.filename or None)
