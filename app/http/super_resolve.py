"""The two endpoints that take pictures: crops, and a page with regions.

parameters -> room? -> body (within the deadline and the memory for bodies) -> service, while the client is there
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

from fastapi import Header, Query, Request, Response
from fastapi.params import Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive

from app.errors import ClientDisconnected, InvalidParameter, ServiceError, UploadTimedOut
from app.http.accept import Shape, choose
from app.http.direct import TIMEOUT_MS, DirectRoute
from app.http.multipart import Take, read_page, read_uploads
from app.http.openapi import SUPER_RESOLVE, SUPER_RESOLVE_REGIONS
from app.http.responses import Rendering, render
from app.imaging import regions
from app.imaging.codec import Format
from app.imaging.quality_gate import DEFAULT_MODE, Mode, RoutingPolicy, routing_policy
from app.imaging.regions import Units
from app.serving.crops import CropResult, Picture
from app.serving.model_service import Options, PageAnswers, ServedModel, Upload
from app.serving.page import PageOptions
from app.serving.registry import ModelRegistry
from app.settings import Settings
from model_store.tiling import Geometry

Body = TypeVar("Body")
T = TypeVar("T")

TimeoutMs = Annotated[
    str | None,
    Header(alias=TIMEOUT_MS, description="Deadline in milliseconds; may only shorten the configured one."),
]


class Parameters(BaseModel):
    """Query parameters; an unknown one is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Format = Field(
        "png", description="Format of the answer. PNG and WebP are lossless, JPEG is quality 95."
    )
    mode: Mode = Field(
        DEFAULT_MODE,
        description="`auto`: super-resolves the crops that it helps to read, and enlarges the others without the "
        "network. `always`: super-resolves every crop.",
    )
    recogniser: str | None = Field(
        None,
        description="The text recogniser that reads the answer: one of the `recognisers` of `GET /v1/models`, or "
        "`any`. It gets what it reads best: the crop super-resolved at twice its size, or unchanged. Goes with "
        "`mode=auto`.",
    )
    model: str | None = Field(
        None, description="`name` (its active version) or `name:version`; default: the first listed."
    )

    def policy(self, geometry: Geometry = "native") -> RoutingPolicy:
        """Raises InvalidParameter."""
        return routing_policy(self.mode if "mode" in self.model_fields_set else None, self.recogniser, geometry)


class CropParameters(Parameters):
    geometry: Geometry = Field(
        "native",
        description="`native`: twice the input's width and height. `telescope`: exactly the reference behaviour, "
        "stretched to 64x16 and answered as 128x32.",
    )

    def options(self) -> Options:
        return Options(self.format, self.geometry, self.policy(self.geometry))


class PageParameters(Parameters):
    units: Units = Field(
        "pixels", description="Of the regions: `pixels`, or `relative` to the page's width and height (docTR)."
    )
    recompose: bool = Field(
        False, description="Answer with the page at twice its size, the super-resolved regions in their places."
    )


async def super_resolve(
    request: Request, parameters: Annotated[CropParameters, Query()], timeout_ms: TimeoutMs = None
) -> Response:
    """Post one or more low-resolution text crops, get each back at twice its size."""
    settings: Settings = request.app.state.settings
    record = request.state.record
    options = parameters.options()

    async def read(take: Take) -> list[Upload]:
        return await read_uploads(
            request, take, max_bytes=settings.max_request_bytes, max_images=settings.max_images
        )

    with _serving(request, parameters.model, options.policy) as service:

        async def answer(
            uploads: list[Upload], deadline: float
        ) -> tuple[list[Upload], list[CropResult | ServiceError]]:
            record.images = len(uploads)
            return uploads, await service.super_resolve(
                uploads, options=options, deadline=deadline, timings=record.timings
            )

        uploads, answers = await _exchange(request, service, timeout_ms, read, answer)
        shape = _shape(request, one_picture=len(uploads) == 1)
        if shape == "image" and isinstance(answers[0], ServiceError):
            raise answers[0]
        names = [upload.filename for upload in uploads]
        return await _rendered(request, service, shape, answers, parameters, names=names)


async def super_resolve_regions(
    request: Request, parameters: Annotated[PageParameters, Query()], timeout_ms: TimeoutMs = None
) -> Response:
    """Post a page and where its text is, get each region back upright and at twice its size, or the whole page."""
    settings: Settings = request.app.state.settings
    record = request.state.record
    options = PageOptions(parameters.format, parameters.units, parameters.recompose, parameters.policy())

    async def read(take: Take) -> tuple[Upload, bytes]:
        return await read_page(request, take, max_bytes=settings.max_request_bytes)

    with _serving(request, parameters.model, options.policy) as service:

        async def answer(body: tuple[Upload, bytes], deadline: float) -> PageAnswers:
            page, listed = body
            corners = await asyncio.to_thread(regions.parse, listed, max_regions=settings.max_regions)
            record.images = len(corners)
            return await service.super_resolve_regions(
                page, corners, options=options, deadline=deadline, timings=record.timings
            )

        answers = await _exchange(request, service, timeout_ms, read, answer)
        shape = _shape(request, one_picture=parameters.recompose)
        names = [None] * len(answers.regions)
        return await _rendered(
            request, service, shape, answers.regions, parameters, names=names, page=answers.page
        )


def routes(guards: Sequence[Depends]) -> list[DirectRoute]:
    """guards: for the documentation; the routes ask for keys by themselves."""
    shared: dict[str, Any] = {"methods": ["POST"], "tags": ["super-resolution"], "dependencies": guards}
    return [
        DirectRoute(
            "/v1/super-resolve", super_resolve, summary="Super-resolve text crops", **shared, **SUPER_RESOLVE
        ),
        DirectRoute(
            "/v1/super-resolve/regions",
            super_resolve_regions,
            summary="Super-resolve regions of a page",
            **shared,
            **SUPER_RESOLVE_REGIONS,
        ),
    ]


@contextmanager
def _serving(request: Request, wanted: str | None, policy: RoutingPolicy) -> Iterator[ServedModel]:
    """The model that answers, to the end of its work, and as the answer's headers name it.

    Raises UnknownModel, or InvalidParameter for a recogniser that it was not calibrated for.
    """
    models: ModelRegistry = request.app.state.models
    with models.use(wanted) as service:
        request.state.record.service = service
        service.gate.check(policy.recogniser)
        yield service


async def _exchange(
    request: Request,
    service: ServedModel,
    timeout_ms: str | None,
    read: Callable[[Take], Awaitable[Body]],
    answer: Callable[[Body, float], Coroutine[Any, Any, T]],
) -> T:
    timeout_s = _timeout_s(timeout_ms, request.app.state.settings)
    deadline = time.monotonic() + timeout_s
    service.batcher.check_capacity()
    request.app.state.unread_answers.check_room()
    with request.app.state.body_budget.body() as take:
        try:
            async with asyncio.timeout(timeout_s):
                body = await read(take)
        except TimeoutError as exc:
            raise UploadTimedOut("The body did not arrive within the request's deadline.") from exc
        return await _while_connected(request.receive, answer(body, deadline))


def _timeout_s(header: str | None, settings: Settings) -> float:
    if header is None:
        return settings.request_timeout_ms / 1000
    if not re.fullmatch("[0-9]{1,9}", header) or int(header) == 0:  # int() refuses thousands of digits
        raise InvalidParameter(f"X-Request-Timeout-Ms is {header[:20]!r}; it must be 1 to 999999999 milliseconds.")
    return min(int(header), settings.request_timeout_ms) / 1000


def _shape(request: Request, *, one_picture: bool) -> Shape:
    return choose(",".join(request.headers.getlist("accept")), one_picture=one_picture)


async def _rendered(
    request: Request,
    service: ServedModel,
    shape: Shape,
    answers: list[CropResult | ServiceError],
    parameters: Parameters,
    *,
    names: Sequence[str | None],
    page: Picture | None = None,
) -> Response:
    record = request.state.record
    record.failed = sum(isinstance(answer, ServiceError) for answer in answers)
    rendering = Rendering(shape, parameters.format, service.artefact, record.request_id)
    if shape == "image":  # nothing is left to compute
        return render(rendering, answers, names=names, page=page)
    return await asyncio.to_thread(render, rendering, answers, names=names, page=page)


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; a client that leaves meanwhile cancels it. The body must have been read."""
    working = asyncio.current_task()
    assert working
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        working.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await work
    except asyncio.CancelledError as exc:
        if gone and not working.uncancel():  # by nobody else
            raise ClientDisconnected("The client went away before its answer was ready.") from exc
        raise
    finally:
        watching.cancel()
