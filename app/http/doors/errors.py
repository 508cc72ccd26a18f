"""The errors of another protocol's addresses, for OpenAPI."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from app.errors import (
    DeadlineExceeded,
    EmptyBody,
    ImageTooSmall,
    InferenceFailed,
    InternalError,
    InvalidParameter,
    MalformedJson,
    NotReady,
    OutOfMemory,
    Overloaded,
    RequestTooLarge,
    ResultTooLarge,
    ServiceError,
    TooManyBytes,
    TooManyImages,
    TooManyPixels,
    UndecodableImage,
    UnknownModel,
    UnsupportedFormat,
    UnsupportedMediaType,
    UploadTimedOut,
)

CROPS = (  # of crops in a JSON body
    *(EmptyBody, MalformedJson, UndecodableImage, UnknownModel, UploadTimedOut, TooManyBytes, TooManyImages),
    *(TooManyPixels, RequestTooLarge, ResultTooLarge, UnsupportedMediaType, UnsupportedFormat, ImageTooSmall),
    *(InvalidParameter, Overloaded, InferenceFailed, OutOfMemory, InternalError, NotReady, DeadlineExceeded),
)


def error_responses(
    kinds: Iterable[type[ServiceError]], example: Callable[[type[ServiceError]], BaseModel]
) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for these errors, with an example for each. example: an error in the protocol's form."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        shown = example(kind)
        content: dict[str, Any] = {"application/json": {"examples": {}}}
        described = {"description": HTTPStatus(kind.status).phrase, "model": type(shown), "content": content}
        entry = responses.setdefault(kind.status, described)
        entry["content"]["application/json"]["examples"][kind.code] = {
            "summary": kind.title,
            "value": shown.model_dump(exclude_none=True),
        }
    return responses
