"""The endpoints. Bodies are read in `uploads`, work is done in `service`, errors are told in `problems`."""

import asyncio
import re
import time
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive

from app.codec import Format
from app.errors import ClientDisconnected, InvalidParameter, ServiceError, UnknownModel, UploadTimedOut
from app.geometry import Geometry
from app.negotiation import choose
from app.openapi import NOT_READY, SUPER_RESOLVE, UNKNOWN_MODEL
from app.responses import model_info, render
from app.schemas import Health, ModelInfo, ModelList
from app.service import Options, Service
from app.settings import Settings
from app.uploads import read_uploads

T = TypeVar("T")
router = APIRouter()


class Parameters(BaseModel):
    """Query parameters of a super-resolution; an unknown one is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    format: Format = Field(
        "png", description="Format of the answer. PNG and WebP are lossless, JPEG is quality 95."
    )
    geometry: Geometry = Field(
        "native",
        description="`native`: twice the input's width and height. `telescope`: exactly the reference behaviour, "
        "stretched to 64x16 and answered as 128x32.",
    )
    model: str | None = Field(None, description="`name` or `name:version`; default: the model that is served.")


@router.post("/v1/super-resolve", summary="Super-resolve text crops", tags=["super-resolution"], **SUPER_RESOLVE)
async def super_resolve(
    request: Request,
    parameters: Annotated[Parameters, Query()],
    x_request_timeout_ms: Annotated[
        str | None, Header(description="Deadline in milliseconds; may only shorten the configured one.")
    ] = None,
) -> Response:
    """Post one or more low-resolution text crops, get each back at twice its size."""
    service: Service = request.app.state.service
    settings: Settings = request.app.state.settings
    record = request.state.record
    _check_model(parameters.model, service)
    timeout_s = _timeout_s(x_request_timeout_ms, settings)
    deadline = time.monotonic() + timeout_s
    service.batcher.check_room()
    with request.app.state.body_budget.body() as take:
        try:
            async with asyncio.timeout(timeout_s):
                uploads = await read_uploads(
                    request, take, max_bytes=settings.max_request_bytes, max_images=settings.max_images
                )
        except TimeoutError as exc:
            raise UploadTimedOut("The body did not arrive within the request's deadline.") from exc
        record.images = len(uploads)
        answers = await _while_connected(
            request.receive,
            service.super_resolve(
                uploads,
                options=Options(format=parameters.format, geometry=parameters.geometry),
                deadline=deadline,
                timings=record.timings,
            ),
        )
    record.failed = sum(isinstance(answer, ServiceError) for answer in answers)
    shape = choose(",".join(request.headers.getlist("accept")), images=len(uploads))
    if shape == "image" and isinstance(answers[0], ServiceError):
        raise answers[0]
    return await asyncio.to_thread(
        render,
        shape,
        answers,
        uploads=uploads,
        image_format=parameters.format,
        artefact=service.artefact,
        request_id=record.request_id,
    )


@router.get("/v1/models", summary="The served models", tags=["models"])
async def models(request: Request) -> ModelList:
    return ModelList(models=[model_info(request.app.state.service)])


@router.get("/v1/models/{name}", summary="One served model", tags=["models"], responses=UNKNOWN_MODEL)
async def model(request: Request, name: str) -> ModelInfo:
    """`name` or `name:version`."""
    service: Service = request.app.state.service
    _check_model(name, service)
    return model_info(service)


@router.head("/livez", include_in_schema=False)
@router.get("/livez", summary="Is the process alive?", tags=["operations"])
async def livez() -> Health:
    return Health(status="ok")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Does the service take requests?", tags=["operations"], responses=NOT_READY)
async def readyz(request: Request) -> Health:
    """200 while requests are taken; 503 while draining or when the predictor has stopped."""
    request.app.state.service.batcher.check_open()
    return Health(status="ready")


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    tags=["operations"],
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _check_model(wanted: str | None, service: Service) -> None:
    manifest = service.artefact.manifest
    if wanted not in (None, manifest.name, manifest.ref):
        raise UnknownModel(f"The model {wanted!r} is not served here; {manifest.ref} is.")


def _timeout_s(header: str | None, settings: Settings) -> float:
    if header is None:
        return settings.request_timeout_ms / 1000
    if not re.fullmatch("[0-9]{1,9}", header) or int(header) == 0:  # int() refuses thousands of digits
        raise InvalidParameter(
            f"X-Request-Timeout-Ms is {header[:20]!r}; it must be a number from 1 to 999999999."
        )
    return min(int(header), settings.request_timeout_ms) / 1000


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; a client that leaves meanwhile cancels it. The body must have been read."""
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnected("The client went away before its answer was ready.")
        return working.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.wait((working, watching))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
