"""Optional, for the demo page: what a text recogniser reads in a picture. Off unless TELESCOPE_DEMO_OCR is true.

    upload -> probe, decode -> rapidocr (one thread of its own) -> text

It reads one line of text and looks for none, as the recognisers behind super-resolution do. An OCR service it
is not: one picture a request, a handful waiting at most.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from app import errors
from app.http.multipart import read_uploads
from app.http.openapi import SUPER_RESOLVE
from app.http.problems import KINDS, openapi_responses
from app.imaging.decode import probe
from app.settings import Settings

MAX_WAITING = 16  # a page asks twice; beyond this a crowd would only take CPU from the predictor
MAX_ASPECT = 64  # the recogniser works at 48 px height, whatever the width: memory follows the proportions
_BODY = {**SUPER_RESOLVE["openapi_extra"]["requestBody"], "description": "One part named `image`, or its bytes."}
_REFUSALS = (
    *(errors.EmptyBody, errors.MalformedMultipart, errors.UndecodableImage, errors.UploadTimedOut),
    *(errors.TooManyBytes, errors.TooManyImages, errors.TooManyPixels, errors.UnsupportedMediaType),
    *(errors.UnsupportedFormat, errors.ImageTooSmall, errors.InvalidParameter, errors.Overloaded),
    *(errors.InternalError, errors.NotReady, errors.DeadlineExceeded, errors.Unauthorized, errors.RateLimited),
)


class Reading(BaseModel):
    text: str = Field(description="Empty where nothing was read.", examples=["Harbour"])
    confidence: float = Field(description="The recogniser's own, from 0 to 1.", examples=[0.98])
    recogniser: str = Field(description="Package and version.", examples=["rapidocr 3.10.0"])


class Recogniser:
    """PP-OCR's recogniser from the package rapidocr, whose models lie in its wheel: nothing is downloaded."""

    def __init__(self, settings: Settings) -> None:
        """Raises StartupError when the package is missing."""
        try:
            from rapidocr import RapidOCR
        except ImportError as exc:
            raise errors.StartupError(
                "TELESCOPE_DEMO_OCR is true, but the package rapidocr is not installed; install the extra `ocr` "
                "(pip install 'text-telescope[ocr]')."
            ) from exc
        self.name = f"rapidocr {version('rapidocr')}"
        self._settings = settings
        # One thread: the predictor needs the others more.
        threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
        self._engine: Any = RapidOCR(params={"Global.log_level": "warning", **threads})
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recogniser")  # an engine is not to be shared
        self._waiting = 0

    async def read(self, data: bytes) -> Reading:
        """Raises BadInput for a picture that is refused, Overloaded when too many wait."""
        if self._waiting >= MAX_WAITING:
            raise errors.Overloaded("Too many pictures wait to be read; try again in 1 s.", retry_after_s=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, data)
        finally:
            self._waiting -= 1

    def _read(self, data: bytes) -> Reading:
        settings = self._settings
        picture = probe(data, max_pixels=settings.max_image_pixels, min_side_px=settings.min_side_px)
        if picture.width > MAX_ASPECT * picture.height:
            raise errors.TooManyPixels(
                f"The image has {picture.width} x {picture.height} pixels; a line to be read may be {MAX_ASPECT} "
                "times as wide as it is high."
            )
        bgr = np.ascontiguousarray(picture.decode()[:, :, ::-1])  # as OpenCV loads what PP-OCR was trained on
        found = self._engine(bgr, use_det=False, use_cls=False, use_rec=True)
        text, confidence = (found.txts[0], found.scores[0]) if found.txts else ("", 0.0)
        return Reading(text=text, confidence=round(float(confidence), 4), recogniser=self.name)


def recognise_router(recogniser: Recogniser, settings: Settings) -> APIRouter:
    router = APIRouter(tags=["demo"])

    @router.post(
        "/v1/recognise",
        summary="Read one line of text",
        openapi_extra={"requestBody": _BODY},
        responses=openapi_responses(*(KINDS[kind] for kind in _REFUSALS)),
    )
    async def recognise(request: Request) -> Reading:
        """What OCR reads in one crop, to compare before and after. Only with TELESCOPE_DEMO_OCR."""
        request.app.state.models.check_open()
        with request.app.state.body_budget.body() as take:
            try:
                async with asyncio.timeout(settings.request_timeout_ms / 1000):
                    (upload,) = await read_uploads(
                        request, take, max_bytes=settings.max_request_bytes, max_images=1
                    )
                    return await recogniser.read(upload.data)
            except TimeoutError as exc:
                raise errors.DeadlineExceeded("The deadline passed before the picture was read.") from exc

    return router
