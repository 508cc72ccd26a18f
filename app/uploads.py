"""A request's body -> the images in it, with every limit held while the bytes arrive.

Crops come as multipart/form-data with one or more parts named `image`, or as the bare bytes of one image under its
own Content-Type; a page as multipart with one `image` and the JSON of its `regions`.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
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
from app.service import Upload

IMAGE = "image"
REGIONS = "regions"
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


class _Parser(MultiPartParser):
    spool_max_size = 0  # never to disk: the body's limit bounds it, and the root file system may be read-only
    complete = False

    def on_end(self) -> None:
        """The closing boundary; without it the last picture may be cut off."""
        self.complete = True

    def close(self) -> None:
        """Also the files of a body that was refused halfway."""
        for file in self._files_to_close_on_error:
            file.close()


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
    parts = await _multipart(request, stream, max_files=max_images, fields=())
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
    parts = await _multipart(request, stream, max_files=2, fields=(REGIONS,))
    if sorted(name for name, _ in parts) != [IMAGE, REGIONS]:
        raise InvalidParameter(f"The multipart body must hold one part '{IMAGE}' and one part '{REGIONS}'.")
    named = dict(parts)
    return named[IMAGE], named[REGIONS].data


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _multipart(
    request: Request, stream: AsyncGenerator[bytes, None], *, max_files: int, fields: Sequence[str]
) -> list[tuple[str, Upload]]:
    """The body's parts with their names: files named IMAGE, and files or fields of the names in `fields`."""
    parser = _Parser(request.headers, stream, max_files=max_files, max_fields=len(fields))
    try:
        form = await parser.parse()
        if not parser.complete:
            raise MalformedMultipart("The multipart body ends before its closing boundary.")
        return [(name, _upload(name, part, fields)) for name, part in form.multi_items()]
    except UnicodeError as exc:
        raise MalformedMultipart(f"The multipart body's names cannot be read: {exc}.") from exc
    except MultiPartException as exc:
        if exc.message.startswith("Too many files"):
            raise TooManyImages(f"At most {max_files} files are taken in one request; send several.") from exc
        if exc.message.startswith("Too many fields"):
            raise InvalidParameter(
                f"The multipart body has a field too many; images go in as files named '{IMAGE}', parameters into "
                "the address (?format=jpeg)."
            ) from exc
        raise MalformedMultipart(f"The multipart body cannot be read: {exc.message}") from exc
    finally:
        parser.close()


def _upload(name: str, part: UploadFile | str, fields: Sequence[str]) -> Upload:
    if isinstance(part, str) and name in fields:
        return Upload(part.encode(errors="replace"))
    if isinstance(part, UploadFile) and name in (IMAGE, *fields):
        return Upload(part.file.read(), _printable(part.filename))
    raise InvalidParameter(
        f"The multipart body has a part named {name!r} that is not expected; images are files named '{IMAGE}'."
    )


def _printable(filename: str | None) -> str | None:
    """As JSON can carry it: a charset of the client's choice may have left half characters."""
    return filename.encode(errors="replace").decode() if filename else None


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
