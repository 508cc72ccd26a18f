"""A request's body -> the images in it, with every limit checked while the bytes arrive.

Crops come as multipart/form-data with one or more parts named `image`, or as the bare bytes of one image under its
own Content-Type; a page comes as multipart with one `image` and the JSON of its `regions`. Starlette parses the
multipart, in memory.
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from fastapi import Request
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from app.batching.capacity import Capacity, Lease
from app.errors import (
    ClientDisconnected,
    EmptyBody,
    InvalidParameter,
    MalformedMultipart,
    Overloaded,
    TooManyBytes,
    TooManyImages,
    UnsupportedMediaType,
    UploadTimedOut,
)
from app.http.query import timeout_s
from app.serving.model_service import ServedModel, Upload
from app.settings import Settings

IMAGE = "image"
REGIONS = "regions"
MAX_FIELD_BYTES = 1024 * 1024  # of a part that is no image; a thousand regions take a tenth


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

    async def images(self, *, max_images: int | None = None) -> list[Upload]:
        """The images, in order. max_images: None takes the setting.

        Raises the BadInput that names the fault, Overloaded or UploadTimedOut.
        """
        if self._media_type.startswith("image/"):
            async with self._arrival():
                return [Upload(b"".join([chunk async for chunk in self._chunks()]))]
        expected = (
            f"parts named '{IMAGE}' (curl -F image=@crop.png), or the image itself as image/png, image/jpeg, ..."
        )
        parts = await self._multipart(expected, max_images or self._settings.max_images, (IMAGE,))
        if not parts:
            raise EmptyBody(f"The multipart body has no part named '{IMAGE}'.")
        return [upload for _, upload in parts]

    async def page(self) -> tuple[Upload, bytes]:
        """A page and the JSON of its regions. Raises as `images` does."""
        expected = (
            f"a page named '{IMAGE}' and its regions as JSON named '{REGIONS}' "
            "(-F image=@page.png -F regions=@boxes.json)."
        )
        parts = await self._multipart(expected, 2, (IMAGE, REGIONS))
        if sorted(name for name, _ in parts) != [IMAGE, REGIONS]:
            raise InvalidParameter(f"The multipart body must hold one part '{IMAGE}' and one part '{REGIONS}'.")
        named = dict(parts)
        if len(named[REGIONS].data) > MAX_FIELD_BYTES:
            raise TooManyBytes(f"The part '{REGIONS}' is larger than {MAX_FIELD_BYTES} bytes.")
        return named[IMAGE], named[REGIONS].data

    async def _multipart(self, expected: str, max_parts: int, names: tuple[str, ...]) -> list[tuple[str, Upload]]:
        """The parts in order, with their names; all but IMAGE may be fields instead of files."""
        if self._media_type != "multipart/form-data":
            raise UnsupportedMediaType(
                f"Content-Type is {self._media_type or 'missing'}; send multipart/form-data with {expected}"
            )
        parser = _InMemoryParser(self._request.headers, self._chunks(), max_parts=max_parts)
        try:
            async with self._arrival():
                form = await parser.parse()
        except MultiPartException as exc:
            if exc.message.startswith("Too many"):
                raise TooManyImages(f"At most {max_parts} parts are taken in one request; send several.") from exc
            if exc.message.startswith("Part exceeded"):
                raise TooManyBytes(f"A part that is no file is larger than {MAX_FIELD_BYTES} bytes.") from exc
            reason = exc.__cause__ or exc.message
            raise MalformedMultipart(f"The multipart body cannot be read: {str(reason).rstrip('.')}.") from exc
        try:
            return [(name, _upload(name, value, names)) for name, value in form.multi_items()]
        finally:
            await form.close()

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
        message = f"The body is larger than {max_bytes} bytes; send fewer or smaller images."
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
    """Starlette's parser, but files stay in memory, and a body without its closing boundary is malformed."""

    spool_max_size = 2**40  # bytes: never a file on the disk; the body's own limits hold
    _complete = False

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], *, max_parts: int) -> None:
        # Names are UTF-8 (RFC 7578, 5.1), or Latin-1 as a fallback; the charset that the body claims is ignored.
        content_type = re.sub(r";\s*charset=[^;]*", "", headers["content-type"], flags=re.IGNORECASE)
        limits = {"max_files": max_parts, "max_fields": max_parts, "max_part_size": MAX_FIELD_BYTES}
        super().__init__(Headers({"Content-Type": content_type}), stream, **limits)

    def on_end(self) -> None:
        self._complete = True

    async def parse(self) -> FormData:
        form = await super().parse()
        if not self._complete:  # the last image may be cut off
            for file in self._files_to_close_on_error:
                file.close()
            raise MalformedMultipart("The multipart body ends before its closing boundary.")
        return form


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


def _upload(name: str, value: UploadFile | str, names: tuple[str, ...]) -> Upload:
    """Raises InvalidParameter for a part that is not expected."""
    if isinstance(value, UploadFile):
        if name not in names:
            raise InvalidParameter(
                f"The multipart body has a file named {name!r} that is not expected; images are files named "
                f"'{IMAGE}'."
            )
        return Upload(value.file.read(), value.filename or None)
    if name not in names or name == IMAGE:
        raise InvalidParameter(
            f"The multipart body has a field named {name!r} that is not expected; images go in as files named "
            f"'{IMAGE}', parameters into the address (?format=jpeg)."
        )
    return Upload(value.encode())
