"""What the OpenAPI page says of the super-resolution endpoint that its signature cannot: bodies and answers.

The pictures in the examples are real ones, made by the codec.
"""

import base64
from typing import Any

import numpy as np

from app.errors import Forbidden, ModelRefused, NotReady, RateLimited, Unauthorized, UnknownModel
from app.http.problems import KINDS, openapi_responses
from app.http.schemas import SuperResolveResponse
from app.imaging import codec

# Two dark strokes on a light ground, 12 x 6 pixels.
_GLYPH = np.full((6, 12, 3), 230, np.uint8)
_GLYPH[1:5, [2, 3, 8, 9]] = 40
_PICTURE = base64.b64encode(codec.encode(_GLYPH, "png")).decode()

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
                "detail": "These 11 bytes are not an image in PNG, JPEG, WEBP, BMP, TIFF or GIF.",
                "code": "undecodable_image",
                "request_id": "8f14e45fceea467a9c1d3b2a5e6f7081",
            },
        },
    ],
}
HEADERS = {  # of every answer, errors included
    "X-Request-ID": "The request's own, if it sent a usable one (up to 128 letters, digits, '.', '_' or '-').",
    "X-Method": "Of a single picture: `super_resolved`, `enlarged` without the network, or `kept` as it was.",
    "X-Reason": "Of a single picture: why that was done.",
    "X-Model-Name": "The model that answered.",
    "X-Model-Version": "Its version.",
    "X-Model-Digest": "SHA-256 of its manifest.",
    "Server-Timing": "Milliseconds of decode, queue, inference, encode and total; the longest of each phase.",
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_IMAGES = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}

SUPER_RESOLVE: dict[str, Any] = {
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": "One or more parts named `image`, or the bytes of one image. "
            "PNG, JPEG, WebP, BMP, TIFF or GIF, one frame each.",
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": {"image": _IMAGES}, "required": ["image"]}
                },
                **{f"image/{name.lower()}": _BINARY for name in codec.DECODED if name != "MPO"},
            },
        }
    },
    "responses": {
        200: {
            "description": "One image and no wish for JSON: the picture. Several images, or "
            "`Accept: application/json`: one entry per image, in order, each with its own outcome. "
            "`Accept: application/zip`: the pictures as files beside a `results.json`.",
            "model": SuperResolveResponse,
            "headers": {
                name: {"schema": {"type": "string"}, "description": text} for name, text in HEADERS.items()
            },
            "content": {
                "application/json": {"example": _ANSWER},
                **dict.fromkeys(codec.MEDIA_TYPES.values(), _BINARY),
                "application/zip": _BINARY,
            },
        },
        # 403 and 409 are the admin's; 499 never reaches a client: there is none left.
        **openapi_responses(*(kind for kind in KINDS.values() if kind.status not in (403, 409, 499))),
    },
}
_REGIONS = {
    "type": "string",
    "contentMediaType": "application/json",
    "description": "A JSON list; each region four corners `[[x, y], ...]` clockwise from the text's top left, "
    "`[x_min, y_min, x_max, y_max]` or `[[x_min, y_min], [x_max, y_max]]`.",
    "examples": ["[[120, 80, 310, 104], [[15, 20], [90, 24], [89, 43], [14, 39]]]"],
}
SUPER_RESOLVE_REGIONS: dict[str, Any] = {
    "openapi_extra": {
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
                }
            },
        }
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
UNKNOWN_MODEL = openapi_responses(KINDS[UnknownModel])
ACTIVATE = openapi_responses(*(KINDS[kind] for kind in (Forbidden, UnknownModel, ModelRefused, NotReady)))
NO_KEY = openapi_responses(KINDS[Unauthorized], KINDS[RateLimited])
NOT_READY = openapi_responses(KINDS[NotReady])
