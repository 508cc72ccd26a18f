"""The two endpoints that take pictures: crops, and a page with regions.

query -> served model in use -> body within deadline and capacity -> super-resolve while connected -> response
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from fastapi import APIRouter, Request, Response

from app.errors import ClientDisconnected, ServiceError
from app.http.accept import negotiate
from app.http.body import Body, receive
from app.http.openapi import SUPER_RESOLVE, SUPER_RESOLVE_REGIONS
from app.http.query import CropQuery, PageQuery, Query, read_query
from app.http.responses import render
from app.imaging import regions
from app.imaging.encode import Format
from app.serving.model_service import ServedModel, Upload
from app.serving.pipeline import CropOptions
from app.serving.registry import ModelRegistry
from app.serving.runner import CropResult

PATHS = CROPS, REGIONS = "/v1/super-resolve", "/v1/super-resolve/regions"
router = APIRouter(tags=["super-resolution"])


@router.post(CROPS, summary="Super-resolve text crops", **SUPER_RESOLVE)
async def super_resolve(request: Request) -> Response:
    """Post one or more low-resolution text crops, get each back at twice its size."""
    query = read_query(request, CropQuery)
    options = query.options()
    with served_model(request, query) as model:
        with receive(request, model) as body:
            uploads = await body.images()
            representation = negotiate(request, one_picture=len(uploads) == 1, image_format=query.format)
            results = await super_resolve_crops(
                request, model, body, uploads, options=options, image_format=representation.image_format
            )
        names = [upload.filename for upload in uploads]
        return await render(request.state.record, representation, results, names=names)


@router.post(REGIONS, summary="Super-resolve regions of a page", **SUPER_RESOLVE_REGIONS)
async def super_resolve_regions(request: Request) -> Response:
    """Post a page and its text regions, get each region back upright and at twice its size, or the whole page."""
    record = request.state.record
    query = read_query(request, PageQuery)
    options = query.options()
    representation = negotiate(request, one_picture=query.recompose, image_format=query.format)
    with served_model(request, query) as model:
        with receive(request, model) as body:
            page, listed = await body.page()
            too_large = "Scale the page down with its regions, or send the page in parts."
            async with while_connected(request):
                max_regions = request.app.state.settings.max_regions
                outlines = await asyncio.to_thread(regions.parse, listed, max_regions=max_regions)
                record.images = len(outlines)
                with body.advising(page, too_large=too_large):
                    results = await model.super_resolve_regions(
                        page,
                        outlines,
                        options,
                        representation.image_format,
                        deadline=body.deadline,
                        timings=record.timings,
                    )
        names = [None] * len(outlines)
        return await render(record, representation, results.regions, names=names, page=results.page)


async def super_resolve_crops(
    request: Request,
    model: ServedModel,
    body: Body,
    uploads: Sequence[Upload],
    *,
    options: CropOptions,
    image_format: Format,
) -> list[CropResult | ServiceError]:
    """One entry per upload, in order: its result, or its own error with the right call.

    Raises ServiceError when the request as a whole is refused, or ClientDisconnected.
    """
    record = request.state.record
    record.images = len(uploads)
    async with while_connected(request):
        results = await model.super_resolve(
            uploads, options, image_format, deadline=body.deadline, timings=record.timings
        )
    too_large = (
        "Scale it down or cut it into parts; send a page with the boxes of its text to "
        f"{REGIONS}, which takes {request.app.state.settings.max_page_pixels} pixels."
    )
    return [
        body.advised(result, upload, too_large=too_large) for upload, result in zip(uploads, results, strict=True)
    ]


@contextmanager
def served_model(request: Request, query: Query) -> Iterator[ServedModel]:
    """The model that the query names, in use to the end of the context and named in the response's headers.

    Raises UnknownModel, or InvalidParameter for a recogniser that it was not calibrated for.
    """
    models: ModelRegistry = request.app.state.models
    with models.find(query.model).used() as model:
        request.state.record.model = model
        model.gate.check(query.recogniser)
        yield model


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancels the work inside, with ClientDisconnected, when the client goes. The body must have been read."""
    working = asyncio.current_task()
    assert working
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        working.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError as exc:
        if gone and not working.uncancel():  # and the server does not stop
            raise ClientDisconnected("The client went away before its answer was ready.") from exc
        raise
    finally:
        watching.cancel()
