"""The form of PaddleX 3's basic serving, for clients of PaddleOCR 3: one crop in base64, its result in base64.

    {"file": "<base64>", "fileType": 1}
        ->  {"logId": "...", "errorCode": 0, "errorMsg": "Success", "result": {"superResolutionResults": [...]}}

PaddleX has no pipeline for super-resolution. The result is that of its pipeline from picture to picture,
/document-preprocessing: a list with one `outputImage`, a PNG. Its other pipelines call the field `image`.
Our rules are read from
    PaddlePaddle/PaddleX, paddlex/inference/serving/
        basic_serving/_app.py                       errors, with equal errorCode and HTTP status
        infra/models.py, infra/utils.py             the answer, dataInfo; URLs are fetched there
        schemas/doc_preprocessor.py, image_classification.py, shared/ocr.py
        basic_serving/_pipeline_apps/_common/ocr.py fileType

Other fields are ignored, as there; `visualize` among them. Two answers differ: URLs and PDFs are refused with 422,
and base64 that cannot be decoded gets 400 instead of 500.
"""

import asyncio
import base64
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, field_validator, model_validator

from app.errors import ServiceError
from app.http import base64_json
from app.http.body import receive
from app.http.misplaced import is_address
from app.http.openapi import JSON_CROPS_ERRORS, KEY_ERRORS
from app.http.problems import openapi_responses
from app.http.query import CropQuery, openapi_parameters, read_query
from app.http.super_resolve import served_model, super_resolve_crops
from app.serving.model_service import Upload
from app.serving.runner import CropResult

PREFIX = PATH = "/image-super-resolution"
CALL = """curl -H 'Content-Type: application/json' -d '{"file": "<base64>", "fileType": 1}'"""
PDF, IMAGE = 0, 1  # values of fileType
router = APIRouter(tags=["PaddleOCR"])


class InferRequest(BaseModel):
    file: str | None = None
    image: str | None = None
    fileType: Literal[0, 1] | None = None

    @field_validator("file", "image")
    @classmethod
    def _no_address(cls, text: str | None) -> str | None:
        if text and is_address(text):
            raise ValueError("addresses are not fetched")
        return text

    @model_validator(mode="after")
    def _one_picture(self) -> "InferRequest":
        if self.fileType == PDF:
            raise ValueError("PDF files are not taken; render the pages, and send the crops of their text")
        if (self.file is None) == (self.image is None):
            raise ValueError("one of the fields 'file' and 'image' must hold the picture")
        return self


class Size(BaseModel):
    width: int
    height: int
    type: Literal["image"] = "image"


class PrunedResult(BaseModel):
    method: str
    reason: str


class SuperResolutionResult(BaseModel):
    outputImage: str = Field(description="The picture in base64.")
    prunedResult: PrunedResult


class InferResult(BaseModel):
    superResolutionResults: list[SuperResolutionResult]
    dataInfo: Size = Field(description="Of the picture that was sent.")


class Answer(BaseModel):
    logId: str = Field(description="The request's id, as in X-Request-ID and in the log.")
    errorCode: Literal[0] = 0
    errorMsg: Literal["Success"] = "Success"
    result: InferResult


class Failure(BaseModel):
    logId: str
    errorCode: int = Field(description="The HTTP status.")
    errorMsg: str


def error_form(error: ServiceError, request_id: str) -> dict[str, Any]:
    return Failure(logId=request_id, errorCode=error.status, errorMsg=str(error)).model_dump()


def _example(kind: type[ServiceError]) -> Failure:
    return Failure(logId="8f14e45fceea467a9c1d3b2a5e6f7081", errorCode=kind.status, errorMsg=kind.example)


NO_KEY = openapi_responses(*KEY_ERRORS, example=_example)
_BASE64 = {"type": "string", "format": "byte", "description": "The picture; `file` or `image`."}
_BODY = {
    "type": "object",
    "properties": {
        "file": _BASE64,
        "image": _BASE64,
        "fileType": {"enum": [IMAGE, None], "description": "1: a picture."},
        "visualize": {"type": ["boolean", "null"], "description": "Ignored."},
    },
    "oneOf": [{"required": ["file"]}, {"required": ["image"]}],
}


@router.post(
    PATH,
    summary="Super-resolve a text crop, as PaddleX's basic serving",
    responses={200: {"model": Answer}, **openapi_responses(*JSON_CROPS_ERRORS, example=_example)},
    openapi_extra={
        "parameters": openapi_parameters(CropQuery),
        "requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}},
    },
)
async def infer(request: Request) -> Response:
    """One crop, returned at twice its size."""
    record = request.state.record
    query = read_query(request, CropQuery)
    options = query.options()
    with served_model(request, query) as model, receive(request, model) as body:
        upload = await body.json(_read, call=CALL)
        (result,) = await super_resolve_crops(
            request, model, body, [upload], options=options, image_format=query.format or "png"
        )
    if isinstance(result, ServiceError):
        record.failed = 1
        raise result
    answer = await asyncio.to_thread(partial(_answer, result, record.request_id))
    return Response(answer, media_type="application/json")


def _read(data: bytes) -> Upload:
    asked = base64_json.parse(InferRequest, data, call=CALL)
    return base64_json.upload(asked.file or asked.image or "", call=CALL)


def _answer(result: CropResult, request_id: str) -> str:
    height, width = result.input_size
    entry = SuperResolutionResult(
        outputImage=base64.b64encode(result.data).decode(),
        prunedResult=PrunedResult(method=result.decision.method, reason=result.decision.reason),
    )
    found = InferResult(superResolutionResults=[entry], dataInfo=Size(width=width, height=height))
    return Answer(logId=request_id, result=found).model_dump_json()
