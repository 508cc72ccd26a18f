"""Reads text in one crop, to compare before and after on the demo page. Off unless TELESCOPE_DEMO_OCR is true.

    upload -> probe, decode -> rapidocr (one thread of its own) -> text

It recognises one line of text without detection. It is no OCR service: one picture per request, a short queue.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from app import errors
from app.http.body import receive
from app.http.openapi import SUPER_RESOLVE
from app.http.problems import openapi_responses
from app.imaging.decode import probe
from app.serving.registry import ModelRegistry
from app.settings import Settings
from model_store.optional import optional

MAX_WAITING = 16  # a page sends two pictures; a longer queue would take CPU from the predictor
MAX_ASPECT = 64  # the recogniser scales the height to 48 px, so memory grows with this ratio
_BODY = {**SUPER_RESOLVE["openapi_extra"]["requestBody"], "description": "One part named `image`, or its bytes."}
_REFUSALS = (
    *(errors.EmptyBody, errors.MalformedMultipart, errors.UndecodableImage, errors.UploadTimedOut),
    *(errors.TooManyBytes, errors.TooManyImages, errors.TooManyPixels, errors.UnsupportedMediaType),
    *(errors.UnsupportedFormat, errors.ImageTooSmall, errors.InvalidParameter, errors.Overloaded),
    *(errors.InternalError, errors.NotReady, errors.DeadlineExceeded, errors.Unauthorized, errors.RateLimited),
)


class Reading(BaseModel):
    text: str = Field(description="Empty if no text was found.", examples=["Harbour"])
    confidence: float = Field(description="The recogniser's own, from 0 to 1.", examples=[0.98])
    recogniser: str = Field(description="Package and version.", examples=["rapidocr 3.10.0"])


class DemoRecogniser:
    """PP-OCR's recogniser from the package rapidocr, which contains its models: nothing is downloaded."""

    def __init__(self, settings: Settings) -> None:
        """Raises StartupError when the package is missing or broken."""
        # One thread: the predictor needs the other cores.
        threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
        with optional("TELESCOPE_DEMO_OCR=true", "rapidocr", extra="ocr", error=errors.StartupError):
            from rapidocr import RapidOCR

            self._engine: Any = RapidOCR(params={"Global.log_level": "warning", **threads})
        self.name = f"rapidocr {version('rapidocr')}"
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recogniser")  # the engine is not thread-safe
        self._waiting = 0

    async def read(self, data: bytes) -> Reading:
        """Raises BadInput for a picture that is refused, Overloaded if too many wait."""
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
        bgr = np.ascontiguousarray(picture.decode()[:, :, ::-1])  # PP-OCR was trained on pictures loaded by OpenCV
        found = self._engine(bgr, use_det=False, use_cls=False, use_rec=True)
        text, confidence = (found.txts[0], found.scores[0]) if found.txts else ("", 0.0)
        return Reading(text=text, confidence=round(float(confidence), 4), recogniser=self.name)


def recognise_router(recogniser: DemoRecogniser) -> APIRouter:
    router = APIRouter(tags=["demo"])

    @router.post(
        "/v1/recognise",
        summary="Read one line of text",
        openapi_extra={"requestBody": _BODY},
        responses=openapi_responses(*_REFUSALS),
    )
    async def recognise(request: Request) -> Reading:
        """The text that OCR reads in one crop, to compare before and after. Only with TELESCOPE_DEMO_OCR."""
        models: ModelRegistry = request.app.state.models
        models.check_open()
        with receive(request, models.default) as body:
            (upload,) = await body.images(max_images=1)
            try:
                with body.advising(upload):
                    async with asyncio.timeout(body.deadline - time.monotonic()):
                        return await recogniser.read(upload.data)
            except TimeoutError as exc:
                raise errors.DeadlineExceeded("The deadline passed before the picture was read.") from exc

    return router
