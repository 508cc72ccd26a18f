"""The OpenAPI description of the super-resolution endpoints: parameters, bodies and responses.

The pictures in the examples are real ones, made by the encoder.
"""

import base64
from typing import Any

import numpy as np
from fastapi import FastAPI

from app.errors import (
    BadRegion,
    ClientDisconnected,
    Forbidden,
    InvalidParameter,
    InvalidTensor,
    MalformedMultipart,
    MethodNotAllowed,
    ModelRefused,
    NotFound,
    NotInstalled,
    NotReady,
    RateLimited,
    TooManyRegions,
    Unauthorized,
    UnknownModel,
    sent_errors,
)
from app.http.problems import openapi_responses
from app.http.query import CropQuery, PageQuery, PageReadingQuery, openapi_parameters
from app.http.schemas import PageReadingResponse, Problem, SuperResolveResponse
from app.imaging import decode, encode

# Two dark strokes on a light ground, 12 x 6 pixels.
_GLYPH = np.full((6, 12, 3), 230, np.uint8)
_GLYPH[1:5, [2, 3, 8, 9]] = 40
_PICTURE = base64.b64encode(encode.encode(_GLYPH, "png")).decode()

_ANSWER = {
    "model": {"name": "tbsrn", "version": 1, "digest": "sha256 of the manifest, 64 hexadecimal digits"},
    "images": [
        {
            "outcome": "ok",
            "index": 0,
            "filename": "word.png",
            "input": {"width": 6, "height": 3},
            "output": {"width": 12, "height": 6},
            "method": "super_resolved",
            "reason": "always",
            "media_type": "image/png",
            "data": _PICTURE,
        },
        {
            "outcome": "failed",
            "index": 1,
            "filename": "notes.txt",
            "problem": {
                "type": "urn:text-telescope:problem:undecodable_image",
                "title": "The image cannot be decoded",
                "status": 400,
                "detail": "These 11 bytes are not an image in PNG, JPEG, WEBP, BMP, TIFF, GIF or AVIF.",
                "code": "undecodable_image",
                "request_id": "8f14e45fceea467a9c1d3b2a5e6f7081",
            },
        },
    ],
}
HEADERS = {  # X-Method and X-Reason: of a single picture alone
    "X-Request-ID": "The request's own, if it sent a usable one (up to 128 letters, digits, '.', '_' or '-').",
    "X-Method": "Of a single picture: `super_resolved`, `enlarged` without the network, or `kept` as it was.",
    "X-Reason": "Of a single picture: why that was done.",
    "X-Model-Name": "The model that was used.",
    "X-Model-Version": "Its version.",
    "X-Model-Digest": "SHA-256 of its manifest.",
    "Server-Timing": "Milliseconds of decode, queue, inference, encode and total; the longest of each phase.",
}
# Errors of other addresses, of administrators, and of a client that is no longer there.
_ELSEWHERE = (NotFound, MethodNotAllowed, Forbidden, ModelRefused, NotInstalled, ClientDisconnected, InvalidTensor)
_ERRORS = [kind for kind in sent_errors() if kind.example and kind not in _ELSEWHERE]
KEY_ERRORS = (Unauthorized, RateLimited)
_FORM_AND_PAGE_ERRORS = (MalformedMultipart, TooManyRegions, BadRegion)
JSON_CROPS_ERRORS = [kind for kind in _ERRORS if kind not in KEY_ERRORS + _FORM_AND_PAGE_ERRORS]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_IMAGES = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
_FILENAME = {"type": ["string", "null"], "maxLength": 255, "description": "Comes back beside the result."}
_BASE64: dict[str, Any] = {
    "type": "string",
    "format": "byte",
    "description": "A picture in base64, or a data: URL.",
}
_JSON_IMAGE = {
    "anyOf": [
        {
            "type": "object",
            "required": ["data"],
            "additionalProperties": False,
            "properties": {"data": _BASE64, "filename": _FILENAME},
        },
        _BASE64,
    ]
}
_JSON_CROPS = {
    "type": "object",
    "required": ["images"],
    "additionalProperties": False,
    "properties": {"images": {"type": "array", "minItems": 1, "items": _JSON_IMAGE}},
}

SUPER_RESOLVE: dict[str, Any] = {
    "openapi_extra": {
        "parameters": openapi_parameters(CropQuery),
        "requestBody": {
            "required": True,
            "description": "One or more parts named `image`, JSON with base64, or the bytes of one image. "
            f"{decode.ACCEPTED}, one frame each.",
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": {"image": _IMAGES}, "required": ["image"]}
                },
                "application/json": {
                    "schema": _JSON_CROPS,
                    "example": {"images": [{"data": _PICTURE, "filename": "word.png"}]},
                },
                **{f"image/{name.lower()}": _BINARY for name in decode.DECODED},
                "application/octet-stream": _BINARY,
            },
        },
    },
    "responses": {
        200: {
            "description": "One image: the picture. Several images, or "
            "`Accept: application/json`: one entry per image, in order, each with its own outcome. "
            "`Accept: application/zip`: the pictures as files beside a `results.json`.",
            "model": SuperResolveResponse,
            "headers": {
                name: {"schema": {"type": "string"}, "description": text} for name, text in HEADERS.items()
            },
            "content": {
                "application/json": {"example": _ANSWER},
                **dict.fromkeys(encode.MEDIA_TYPES.values(), _BINARY),
                "application/zip": _BINARY,
            },
        },
        **openapi_responses(*_ERRORS),
    },
}
_REGIONS = {
    "type": "string",
    "contentMediaType": "application/json",
    "description": "A JSON list; each region three or more points `[[x, y], ...]` or `[x, y, x, y, ...]`, "
    "clockwise from the text's top left, `[x_min, y_min, x_max, y_max]` or `[[x_min, y_min], [x_max, y_max]]`.",
    "examples": ["[[120, 80, 310, 104], [[15, 20], [90, 24], [89, 43], [14, 39]]]"],
}
_JSON_PAGE = {
    "type": "object",
    "required": ["image", "regions"],
    "additionalProperties": False,
    "properties": {
        "image": _JSON_IMAGE,
        "regions": {"type": ["array", "null"], "description": "The regions as in multipart."},
    },
}
SUPER_RESOLVE_REGIONS: dict[str, Any] = {
    "openapi_extra": {
        "parameters": openapi_parameters(PageQuery),
        "requestBody": {
            "required": True,
            "description": "A page, and where its text is as PaddleOCR, RapidOCR, EasyOCR and docTR tell it.",
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"image": {"type": "string", "format": "binary"}, "regions": _REGIONS},
                        "required": ["image", "regions"],
                    }
                },
                "application/json": {
                    "schema": _JSON_PAGE,
                    "example": {"image": {"data": _PICTURE}, "regions": [[1, 0, 11, 6]]},
                },
            },
        },
    },
    "responses": {
        **SUPER_RESOLVE["responses"],
        200: {
            **SUPER_RESOLVE["responses"][200],
            "description": "One entry per region, in order, each with its own outcome; as files with "
            "`Accept: application/zip`. With `recompose=true` the page, and with `Accept: application/json` or "
            "`application/zip` the page beside the outcomes.",
        },
    },
}
SUPER_RESOLVE_PAGE: dict[str, Any] = {
    "openapi_extra": {
        "parameters": openapi_parameters(PageReadingQuery),
        "requestBody": {
            **SUPER_RESOLVE["openapi_extra"]["requestBody"],
            "description": "One page, or a picture of one line: a part named `image`, base64, or its bytes.",
        },
    },
    "responses": {
        200: {
            "description": "The lines of text in reading order, each with its place and result; as files with "
            "`Accept: application/zip`. With `recompose=true` the page, and with `Accept: application/json` or "
            "`application/zip` the page beside the lines.",
            "model": PageReadingResponse,
            "headers": SUPER_RESOLVE["responses"][200]["headers"],
            "content": {**dict.fromkeys(encode.MEDIA_TYPES.values(), _BINARY), "application/zip": _BINARY},
        },
        **openapi_responses(*_ERRORS, NotInstalled),
    },
}
INVALID_PARAMETER = openapi_responses(InvalidParameter)
UNKNOWN_MODEL = openapi_responses(UnknownModel)
ACTIVATE = openapi_responses(Forbidden, UnknownModel, ModelRefused, NotReady)
NO_KEY = openapi_responses(*KEY_ERRORS)
NOT_READY = openapi_responses(NotReady)


def describe_problems(app: FastAPI) -> None:
    """Add the schema of problems to the application's OpenAPI, which no endpoint's signature names."""
    make = app.openapi

    def described() -> dict[str, object]:
        schema = make()
        schemas = schema["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's; this service answers with problems
            schemas.pop(unused, None)
        for path in schema["paths"].values():
            for operation in path.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        return schema

    app.openapi = described  # type: ignore[method-assign]
