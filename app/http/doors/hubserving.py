"""The form of PaddleHub Serving, for clients of PaddleOCR's deploy/hubserving: crops in base64, results in base64.

    {"images": ["<base64>", ...]}  ->  {"msg": "", "results": [{"data": "<base64>"}, ...], "status": "000"}

PaddleOCR has no such module for super-resolution; the entries are those of PaddleHub's own, falsr_a and dcscn.
Our rules are read from
    PaddlePaddle/PaddleOCR  tools/test_hubserving.py, deploy/hubserving/ocr_system/module.py
    PaddlePaddle/PaddleHub  paddlehub/serving/app_compat.py: the answer, and the values of `status`
    PaddlePaddle/PaddleHub  modules/image/Image_editing/super_resolution/{falsr_a,dcscn}/{module.py,README_en.md}

Three answers differ, and no client of these modules depends on the difference: pictures are PNG instead of JPEG;
errors have their HTTP status instead of 200, with Retry-After; and one failed image spares the others, as in
PaddleOCR's own modules, which give it an empty entry.
"""

import asyncio
import base64
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.errors import NotFound, ServiceError, UnknownModel, UnsupportedMediaType
from app.http.body import receive
from app.http.openapi import JSON_CROPS_ERRORS, KEY_ERRORS
from app.http.problems import openapi_responses
from app.http.query import CropQuery, openapi_parameters, read_query
from app.http.super_resolve import served_model, super_resolve_crops
from app.serving.runner import CropResult

PREFIX = "/predict"  # of every module's address
PATH = f"{PREFIX}/sr_system"
CALL = """curl -H 'Content-Type: application/json' -d '{"images": ["<base64>"]}'"""
router = APIRouter(tags=["PaddleOCR"])


class Entry(BaseModel):
    data: str = Field(description="The picture in base64; empty if the image failed.")
    msg: str | None = Field(None, description="The error of an image that failed.")


class Answer(BaseModel):
    msg: str = Field("", description="The error of the request; of the first image, if all failed.")
    results: list[Entry] | Literal[""] = Field("", description="Empty if the request was refused as a whole.")
    status: Literal["000", "101", "111", "112"] = Field(
        "000",
        description="`000`: an image is done; `111`: the model or module is not served; `112`: the Content-Type "
        "is not JSON; `101`: any other error.",
    )


def failure(kind: type[ServiceError], message: str) -> Answer:
    unavailable, outdated = issubclass(kind, UnknownModel | NotFound), issubclass(kind, UnsupportedMediaType)
    return Answer(msg=message, status="111" if unavailable else "112" if outdated else "101")


def error_form(error: ServiceError, _request_id: str) -> dict[str, Any]:
    return failure(type(error), str(error)).model_dump()


def _example(kind: type[ServiceError]) -> Answer:
    return failure(kind, kind.example)


NO_KEY = openapi_responses(*KEY_ERRORS, example=_example)
_BODY = {
    "type": "object",
    "required": ["images"],
    "additionalProperties": False,
    "properties": {"images": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "byte"}}},
}


@router.post(
    PATH,
    summary="Super-resolve text crops, as PaddleHub Serving",
    responses={200: {"model": Answer}, **openapi_responses(*JSON_CROPS_ERRORS, example=_example)},
    openapi_extra={
        "parameters": openapi_parameters(CropQuery),
        "requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}},
    },
)
async def predict(request: Request) -> Response:
    """One entry per image, in order. If all images fail, the response has the HTTP status of the first error."""
    record = request.state.record
    query = read_query(request, CropQuery)
    options = query.options()
    with served_model(request, query) as model, receive(request, model) as body:
        uploads = await body.json_images(call=CALL)
        results = await super_resolve_crops(
            request, model, body, uploads, options=options, image_format=query.format or "png"
        )
    failed = [result for result in results if isinstance(result, ServiceError)]
    record.failed = len(failed)
    answer, status = Answer(), HTTPStatus.OK.value
    if len(failed) == len(results):
        first = failed[0]
        record.code, record.outcome = first.code, first.outcome
        answer, status = failure(type(first), str(first)), first.status
    content = await asyncio.to_thread(_with_entries, answer, results)
    return Response(content, status, media_type="application/json")


def _with_entries(answer: Answer, results: Sequence[CropResult | ServiceError]) -> str:
    answer.results = [
        Entry(data="", msg=str(result))
        if isinstance(result, ServiceError)
        else Entry(data=base64.b64encode(result.data).decode())
        for result in results
    ]
    return answer.model_dump_json(exclude_none=True)
