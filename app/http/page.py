"""A page whose text is found by the service, and read if asked.

query -> served model in use -> body within deadline and capacity -> lines found, super-resolved, read -> response
"""

import asyncio

from fastapi import APIRouter, Request, Response

from app.errors import ServiceError
from app.http.accept import Representation, negotiate
from app.http.body import receive
from app.http.middleware import RequestRecord
from app.http.openapi import SUPER_RESOLVE_PAGE
from app.http.problems import problem
from app.http.query import PageReadingQuery, read_query
from app.http.responses import Files, done, model_ref, pixel_size, recomposed, zipped
from app.http.schemas import DoneLine, FailedLine, LineReading, LineText, PageReadingResponse
from app.http.super_resolve import served_model, while_connected
from app.imaging.encode import MEDIA_TYPES
from app.ocr.engine import Reading
from app.ocr.reader import TextReader
from app.serving import page_reading
from app.serving.page_reading import LineResult, PageReading

PATH = "/v1/super-resolve/page"
router = APIRouter(tags=["super-resolution"])


@router.post(PATH, summary="Find and read the text of a page", **SUPER_RESOLVE_PAGE)
async def super_resolve_page(request: Request) -> Response:
    """Post a page, get its lines of text, each super-resolved where that helps, and read with `read=true`."""
    record = request.state.record
    query = read_query(request, PageReadingQuery)
    options = query.options()
    reader: TextReader = request.app.state.reader
    reader.check()
    representation = negotiate(request, one_picture=query.recompose, image_format=query.format)
    with served_model(request, query) as model:
        with receive(request, model) as body:
            (upload,) = await body.images(max_images=1)
            too_large = "Scale the page down, or send it in parts."
            async with while_connected(request):
                with body.advising(upload, too_large=too_large):
                    found = await model.super_resolve_page(
                        upload,
                        options,
                        representation.image_format,
                        reader=reader,
                        deadline=body.deadline,
                        timings=record.timings,
                    )
        record.images = len(found.lines)
        record.failed = sum(isinstance(line.result, ServiceError) for line in found.lines)
        return await asyncio.to_thread(render, record, representation, found)


def render(record: RequestRecord, representation: Representation, found: PageReading) -> Response:
    shape, image_format = representation
    if shape == "image":
        assert found.page
        return Response(found.page.data, media_type=MEDIA_TYPES[image_format])
    files = Files(shape, image_format)
    text = found.text if found.recogniser else None
    body = PageReadingResponse(
        model=model_ref(record),
        recogniser=found.recogniser or None,
        recogniser_version=found.recogniser_version or None,
        input=pixel_size(found.size),
        text=text,
        lines=[_line(line, index, files, record.request_id) for index, line in enumerate(found.lines)],
        page=found.page and recomposed(found.page, files),
    ).model_dump_json()
    if shape == "json":
        return Response(body, media_type="application/json")
    texts = {} if text is None else {"text.txt": f"{text}\n".encode()}
    return Response(zipped({"results.json": body.encode(), **texts, **files.held}), media_type="application/zip")


def _line(line: LineResult, index: int, files: Files, request_id: str) -> DoneLine | FailedLine:
    box = [(round(float(x), 1), round(float(y), 1)) for x, y in line.line.outline]
    found = {"box": box, "detection_confidence": round(line.line.confidence, 4)}
    if isinstance(line.result, ServiceError):
        failed = problem(line.result, str(line.result), request_id)
        return FailedLine(index=index, filename=None, problem=failed, **found)
    image = done(line.result, index, None, files)
    return DoneLine(**image.model_dump(), **found, reading=line.reading and _reading(line.reading))


def _reading(reading: page_reading.LineReading) -> LineReading:
    return LineReading(
        **_text(reading.best).model_dump(),
        kept=reading.kept,
        plain=_text(reading.plain),
        super_resolved=reading.super_resolved and _text(reading.super_resolved),
    )


def _text(reading: Reading) -> LineText:
    return LineText(text=reading.text, confidence=round(reading.confidence, 4))
