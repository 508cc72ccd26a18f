"""A request's body -> the images in it, with every limit held while the bytes arrive.

Crops come as multipart/form-data with one or more parts named `image`, or as the bare bytes of one image under its
own Content-Type; a page as multipart with one `image` and the JSON of its `regions`.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from app.errors import (
    ClientDisconnected,
    EmptyBody,
    InvalidParameter,
    MalformedMultipart,
    Overloaded,
    TooManyBytes,
    TooManyImages,
    UnsupportedMediaType,
)
from app.serving.model_service import Upload

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

IMAGE = "image"
REGIONS = "regions"
MAX_FIELD_BYTES = 1024 * 1024  # of what is no picture; a thousand regions take a tenth
Take = Callable[[int], None]


class BodyBudget:
    """Bytes of request bodies in memory, over all requests.

    overloaded: makes the refusal, which carries the time after which it is worth trying again.
    """

    def __init__(self, max_bytes: int, overloaded: Callable[[str], Overloaded]) -> None:
        self._max_bytes = max_bytes
        self._overloaded = overloaded
        self.held = 0

    @contextmanager
    def body(self) -> Iterator[Take]:
        """Gives `take(nbytes)`, which raises Overloaded; what was taken is given back at the end."""
        taken = 0

        def take(nbytes: int) -> None:
            nonlocal taken
            if self.held + nbytes > self._max_bytes:
                raise self._overloaded("Too many bodies are being received")
            self.held += nbytes
            taken += nbytes

        try:
            yield take
        finally:
            self.held -= taken


class _Form:
    """The parts of a multipart body, in order, while its bytes arrive.

    Names are UTF-8 (RFC 7578, 5.1), or Latin-1 where they are not.
    """

    def __init__(self, content_type: str, *, max_parts: int, fields: Sequence[str]) -> None:
        """fields: names that are taken beside IMAGE, as a file or not. Raises MalformedMultipart."""
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise MalformedMultipart("The Content-Type names no boundary between the multipart body's parts.")
        self.boundary = boundary
        self.parts: list[tuple[str, Upload]] = []
        self.complete = False  # the closing boundary came; without it the last picture may be cut off
        self._max_parts = max_parts
        self._fields = fields
        self._count = 0
        self._header = self._value = self._disposition = b""
        self._data: list[bytes] = []

    def callbacks(self) -> "MultipartCallbacks":
        """They raise MalformedMultipart, TooManyImages, TooManyBytes, or InvalidParameter for other parts."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header,
            "on_header_value": self._on_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._check,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
            "on_end": self._complete,
        }

    def _begin(self) -> None:
        self._disposition = b""
        self._nbytes = 0

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _check(self) -> None:
        """Of each part before its data comes."""
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise MalformedMultipart("A part of the multipart body has no name in its Content-Disposition.")
        self._name, filename = _text(options[b"name"]), options.get(b"filename")
        self._filename = _text(filename) if filename else None
        self._count += 1
        if self._count > self._max_parts:
            raise TooManyImages(f"At most {self._max_parts} parts are taken in one request; send several.")
        if filename is not None:
            if self._name not in (IMAGE, *self._fields):
                raise InvalidParameter(
                    f"The multipart body has a file named {self._name!r} that is not expected; images are files "
                    f"named '{IMAGE}'."
                )
        elif self._name not in self._fields:
            raise InvalidParameter(
                f"The multipart body has a field named {self._name!r} that is not expected; images go in as files "
                f"named '{IMAGE}', parameters into the address (?format=jpeg)."
            )

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])
        if self._name in self._fields:
            self._nbytes += end - start
            if self._nbytes > MAX_FIELD_BYTES:
                raise TooManyBytes(f"The part '{self._name}' is larger than {MAX_FIELD_BYTES} bytes.")

    def _end(self) -> None:
        self.parts.append((self._name, Upload(b"".join(self._data), self._filename)))
        self._data = []

    def _complete(self) -> None:
        self.complete = True


async def read_uploads(request: Request, take: Take, *, max_bytes: int, max_images: int) -> list[Upload]:
    """The images of one request, in order. Raises the BadInput that names what is wrong with the body."""
    media_type = _media_type(request)
    if media_type.startswith("image/"):
        return [Upload(b"".join([chunk async for chunk in _limited(request, take, max_bytes)]))]
    if media_type != "multipart/form-data":
        raise UnsupportedMediaType(
            f"Content-Type is {media_type or 'missing'}; send multipart/form-data with parts named '{IMAGE}' "
            "(curl -F image=@crop.png), or the image itself as image/png, image/jpeg, ..."
        )
    stream = _limited(request, take, max_bytes)
    parts = await _multipart(request, stream, max_parts=max_images, fields=())
    if not parts:
        raise EmptyBody(f"The multipart body has no part named '{IMAGE}'.")
    return [part for _, part in parts]


async def read_page(request: Request, take: Take, *, max_bytes: int) -> tuple[Upload, bytes]:
    """A page and the JSON of its regions. Raises the BadInput that names what is wrong with the body."""
    if _media_type(request) != "multipart/form-data":
        raise UnsupportedMediaType(
            f"Content-Type is {_media_type(request) or 'missing'}; send multipart/form-data with a page named "
            f"'{IMAGE}' and its regions as JSON named '{REGIONS}' (-F image=@page.png -F regions=@boxes.json)."
        )
    stream = _limited(request, take, max_bytes)
    parts = await _multipart(request, stream, max_parts=2, fields=(REGIONS,))
    if sorted(name for name, _ in parts) != [IMAGE, REGIONS]:
        raise InvalidParameter(f"The multipart body must hold one part '{IMAGE}' and one part '{REGIONS}'.")
    named = dict(parts)
    return named[IMAGE], named[REGIONS].data


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _multipart(
    request: Request, stream: AsyncGenerator[bytes, None], *, max_parts: int, fields: Sequence[str]
) -> list[tuple[str, Upload]]:
    """The body's parts with their names: files named IMAGE, and files or fields of the names in `fields`."""
    form = _Form(request.headers["content-type"], max_parts=max_parts, fields=fields)
    try:
        parser = MultipartParser(form.boundary, form.callbacks())
        async for chunk in stream:
            parser.write(chunk)
    except FormParserError as exc:
        raise MalformedMultipart(f"The multipart body cannot be read: {exc}.") from exc
    if not form.complete:
        raise MalformedMultipart("The multipart body ends before its closing boundary.")
    return form.parts


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")


async def _limited(request: Request, take: Take, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body's chunks. A declared length over the limit is refused before the first of them."""
    message = f"The body is larger than {max_bytes} bytes; send fewer or smaller images."
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise TooManyBytes(message)
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > max_bytes:
                raise TooManyBytes(message)
            take(len(chunk))
            yield chunk
    except ClientDisconnect as exc:
        raise ClientDisconnected("The client went away while sending.") from exc
