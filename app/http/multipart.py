"""multipart/form-data -> its parts, in memory. Starlette parses it.

A part is known by its name alone: many clients give it no file name, or another Content-Type.
"""

import math
import re
from collections.abc import AsyncGenerator, Callable
from urllib.parse import unquote_to_bytes

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import MalformedMultipart
from app.serving.model_service import Upload

_FILENAME = re.compile(rb"filename\*\s*=\s*\"?utf-8'[^']*'([^;\"\s]+)", re.IGNORECASE)  # RFC 5987; .NET sends both


async def read_parts(
    headers: Headers, chunks: AsyncGenerator[bytes, None], check: Callable[[str, int], None]
) -> list[tuple[str, Upload]]:
    """The parts in order, with their names.

    check: raises for a part that is not expected, given its name and the number of parts so far. Raises
    MalformedMultipart.
    """
    try:
        form = await _InMemoryParser(headers, chunks, check).parse()
    except MultiPartException as exc:
        reason = str(exc.__cause__ or exc.message).rstrip(".")
        if "boundary" not in headers["content-type"].lower():
            reason = "its Content-Type names no boundary; leave that header to the HTTP library"
        raise MalformedMultipart(f"The multipart body cannot be read: {reason}.") from exc
    try:
        return [(name, _upload(value)) for name, value in form.multi_items()]
    finally:
        await form.close()


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, but all parts are files in memory, and a body without its closing boundary is malformed.

    Starlette would decode a part without a file name as text, which destroys a picture.
    """

    spool_max_size = 2**40  # bytes: never a file on the disk; the body's own limits hold
    _complete = False

    def __init__(
        self, headers: Headers, stream: AsyncGenerator[bytes, None], check: Callable[[str, int], None]
    ) -> None:
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


def _upload(value: UploadFile | str) -> Upload:
    assert isinstance(value, UploadFile), "the parser makes every part a file"
    return Upload(value.file.read(), value.filename or None)
