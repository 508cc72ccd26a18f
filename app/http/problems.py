"""The one table from errors to HTTP: status, stable code, title."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from app import errors
from app.http.schemas import Problem

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    status: int
    code: str
    title: str
    example: str  # of a detail, for the OpenAPI page


KINDS: dict[type[errors.ServiceError], Kind] = {
    errors.EmptyBody: Kind(400, "empty_body", "There is nothing to read", "The image is empty (0 bytes)."),
    errors.MalformedMultipart: Kind(
        400,
        "malformed_multipart",
        "The multipart body is malformed",
        "The multipart body ends before its closing boundary.",
    ),
    errors.UndecodableImage: Kind(
        400,
        "undecodable_image",
        "The image cannot be decoded",
        "The image data is damaged or cut off (image file is truncated).",
    ),
    errors.Unauthorized: Kind(
        401,
        "unauthorized",
        "An API key is required",
        "This service asks for an API key: send the header 'Authorization: Bearer <key>'.",
    ),
    errors.Forbidden: Kind(
        403, "forbidden", "An admin key is required", "The API key web-shop is no admin key, and this takes one."
    ),
    errors.UnknownModel: Kind(
        404,
        "unknown_model",
        "The model is not served here",
        "The model 'other' is not served here; served: tbsrn:1.",
    ),
    errors.ModelRefused: Kind(
        409,
        "model_refused",
        "The model cannot be served",
        "tbsrn:2 cannot be served: model.onnx is missing. The active version goes on.",
    ),
    errors.UploadTimedOut: Kind(
        408,
        "upload_timed_out",
        "The body did not arrive in time",
        "The body did not arrive within the request's deadline.",
    ),
    errors.TooManyBytes: Kind(
        413,
        "too_many_bytes",
        "The request body is too large",
        "The body is larger than 33554432 bytes; send fewer or smaller images.",
    ),
    errors.TooManyImages: Kind(
        413,
        "too_many_images",
        "The request has too many images",
        "At most 64 images are taken in one request; send several.",
    ),
    errors.TooManyRegions: Kind(
        413,
        "too_many_regions",
        "The request has too many regions",
        "The request has 10000 regions; at most 1000 are taken. Send several.",
    ),
    errors.TooManyPixels: Kind(
        413,
        "too_many_pixels",
        "The image is too large",
        "The image has 40000 x 40000 pixels; at most 4000000 are accepted.",
    ),
    errors.RequestTooLarge: Kind(
        413,
        "request_too_large",
        "The request would never fit the queue",
        "The request needs room for 64 images and 768000000 bytes; the service holds at most 256 images and "
        "536870912 bytes. Send it in parts.",
    ),
    errors.ResultTooLarge: Kind(
        413,
        "result_too_large",
        "The answer would not fit the format asked for",
        "The answer would be 18000 x 32 pixels; webp holds at most 16383 a side. Ask for png.",
    ),
    errors.UnsupportedMediaType: Kind(
        415,
        "unsupported_media_type",
        "The request's Content-Type is not accepted",
        "Content-Type is text/plain; send multipart/form-data with parts named 'image', or the image itself.",
    ),
    errors.UnsupportedFormat: Kind(
        415, "unsupported_format", "The image's format is not accepted", "PDF is not accepted; send PNG."
    ),
    errors.ImageTooSmall: Kind(
        422,
        "image_too_small",
        "The image is too small to hold text",
        "The image is 1 x 1 pixels; each side must be at least 4 to hold text.",
    ),
    errors.BadRegion: Kind(
        422,
        "bad_region",
        "There is nothing to read in this region",
        "The region lies outside the page of 640 x 480 pixels.",
    ),
    errors.InvalidParameter: Kind(
        422,
        "invalid_parameter",
        "A parameter is not valid",
        "query.format is 'gif': Input should be 'png', 'jpeg' or 'webp'.",
    ),
    errors.Overloaded: Kind(
        429, "overloaded", "The service is at its capacity", "The queue is full; try again in 2 s."
    ),
    errors.RateLimited: Kind(
        429,
        "rate_limited",
        "The API key is at its limit",
        "The API key has used up its 10 images a second; try again in 2 s.",
    ),
    errors.ClientDisconnected: Kind(
        499, "client_disconnected", "The client has gone", "The client went away before its answer was ready."
    ),
    errors.InferenceFailed: Kind(
        500,
        "inference_failed",
        "The predictor failed on this image",
        "The predictor failed on this image; the cause is in the service's log.",
    ),
    errors.OutOfMemory: Kind(
        500,
        "out_of_memory",
        "The device ran out of memory",
        "The predictor ran out of memory on this image alone; the cause is in the service's log.",
    ),
    errors.InternalError: Kind(
        500,
        "internal_error",
        "The service has a defect",
        "An unexpected error was logged under this request id.",
    ),
    errors.NotReady: Kind(
        503,
        "not_ready",
        "The service is not taking requests",
        "The service is shutting down; send the request to another replica.",
    ),
    errors.DeadlineExceeded: Kind(
        504, "deadline_exceeded", "The deadline passed", "The deadline passed before the image was ready."
    ),
}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Bearer."}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds, computed."}},
}
# Errors of the HTTP layer itself, which have no exception of ours.
HTTP_KINDS = {
    404: Kind(404, "not_found", "There is nothing at this address", "GET /v2: Not Found."),
    405: Kind(405, "method_not_allowed", "This address does not take that method", "GET /v1: Not Allowed."),
}


def problem(kind: Kind, *, detail: str, request_id: str) -> Problem:
    return Problem(
        type=f"urn:text-telescope:problem:{kind.code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        code=kind.code,
        request_id=request_id,
    )


def headers_of(error: errors.ServiceError) -> dict[str, str]:
    if isinstance(error, errors.Overloaded):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, errors.Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="Text Telescope"'}
    return {}


def problem_response(
    kind: Kind, *, detail: str, request_id: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    body = problem(kind, detail=detail, request_id=request_id).model_dump()
    return JSONResponse(body, status_code=kind.status, headers=headers, media_type=MEDIA_TYPE)


def openapi_responses(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for these errors, grouped by status, with an example for each code."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        example = problem(kind, detail=kind.example, request_id="8f14e45fceea467a9c1d3b2a5e6f7081")
        entry = by_status.setdefault(
            kind.status,
            {
                "description": "",
                "content": {
                    MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}},
                },
            },
        )
        entry["content"][MEDIA_TYPE]["examples"][kind.code] = {
            "summary": kind.title,
            "value": example.model_dump(),
        }
        codes = ", ".join(f"`{code}`" for code in entry["content"][MEDIA_TYPE]["examples"])
        entry["description"] = f"{HTTPStatus(kind.status).phrase}: {codes}"
        if kind.status in _HEADERS:
            entry["headers"] = _HEADERS[kind.status]
    return by_status
