"""A request's body -> the images in it, with every limit held while the bytes arrive.

Two shapes are taken: multipart/form-data with one or more parts named `image`, or the bare bytes of one
image under its own Content-Type.
"""

from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from app.errors import (
    ClientDisconnected,
    EmptyBody,
    InvalidParameter,
    MalformedMultipart,
    TooManyBytes,
    TooManyImages,
    UnsupportedMediaType,
)
from app.service import Upload

FIELD = "image"


class _InMemoryParser(MultiPartParser):
    spool_max_size = 0  # never to disk: the body's limit bounds it, and the root file system may be read-only


async def read_uploads(request: Request, *, max_bytes: int, max_images: int) -> list[Upload]:
    """The images of one request, in order. Raises the BadInput that names what is wrong with the body."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type == "multipart/form-data":
            return await _multipart(request, max_bytes=max_bytes, max_images=max_images)
        if media_type.startswith("image/"):
            return [Upload(b"".join([chunk async for chunk in _limited(request, max_bytes)]))]
    except ClientDisconnect as exc:
        raise ClientDisconnected("The client went away while sending.") from exc
    raise UnsupportedMediaType(
        f"Content-Type is {media_type or 'missing'}; send multipart/form-data with parts named '{FIELD}' "
        "(curl -F image=@crop.png), or the image itself as image/png, image/jpeg, ..."
    )


async def _multipart(request: Request, *, max_bytes: int, max_images: int) -> list[Upload]:
    stream = _limited(request, max_bytes)
    parser = _InMemoryParser(request.headers, stream, max_files=max_images, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as exc:
        if exc.message.startswith("Too many files"):
            raise TooManyImages(f"At most {max_images} images are taken in one request; send several.") from exc
        if exc.message.startswith("Too many fields"):
            raise InvalidParameter(
                f"The multipart body has a field that is not a file; images go in as files named '{FIELD}', "
                "parameters into the address (?format=jpeg)."
            ) from exc
        raise MalformedMultipart(f"The multipart body cannot be read: {exc.message}") from exc
    uploads = []
    try:
        for name, part in form.multi_items():
            assert isinstance(part, UploadFile)  # max_fields=0 refuses the rest
            if name != FIELD:
                raise InvalidParameter(
                    f"The multipart body has a file named {name!r}; images are named '{FIELD}'."
                )
            uploads.append(Upload(part.file.read(), part.filename or None))
    finally:
        await form.close()
    if not uploads:
        raise EmptyBody(f"The multipart body has no part named '{FIELD}'.")
    return uploads


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body's chunks. A declared length over the limit is refused before the first of them."""
    message = f"The body is larger than {max_bytes} bytes; send fewer or smaller images."
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise TooManyBytes(message)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise TooManyBytes(message)
        yield chunk
