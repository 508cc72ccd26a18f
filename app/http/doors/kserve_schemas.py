"""The JSON of the Open Inference Protocol, version 2, over REST, and its description in OpenAPI.

The protocol: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md. Binary
data, the configuration and the index are extensions of Triton: docs/protocol in triton-inference-server/server.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, StrictInt

from app.errors import (
    ImageTooSmall,
    InvalidTensor,
    MalformedJson,
    NotReady,
    ServiceError,
    TooManyPixels,
    UndecodableImage,
    UnknownModel,
    UnsupportedFormat,
)
from app.http.openapi import JSON_CROPS_ERRORS, KEY_ERRORS
from app.http.problems import openapi_responses
from app.http.query import DEADLINE_HEADER

INPUT, OUTPUT, DATATYPE = "lr", "sr", "FP32"  # as in the exported ONNX networks
HEADER_LENGTH = "Inference-Header-Content-Length"
EXTENSIONS = ["binary_tensor_data", "model_configuration"]
Parameters = dict[str, Any] | None
T = TypeVar("T")
# A list of a million entries is refused at its ninth, or at its first wrong one.
_Few = Annotated[list[T], Field(max_length=8, fail_fast=True)]


class Error(BaseModel):
    error: str


class Live(BaseModel):
    live: Literal[True] = True


class Ready(BaseModel):
    ready: Literal[True] = True


class ModelReady(Ready):
    name: str


class ServerMetadata(BaseModel):
    name: str = "text-telescope"
    version: str
    extensions: list[str] = EXTENSIONS


class TensorMetadata(BaseModel):
    name: str
    datatype: str = DATATYPE
    shape: list[int] = Field(description="-1: of any size.")


class ModelMetadata(BaseModel):
    name: str
    versions: list[str] = Field(description="The loaded versions of this name.")
    platform: str = Field(description="The runtime.")
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class IndexEntry(BaseModel):
    """A loaded model."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = ""


class InputTensor(BaseModel):
    """data: numbers in JSON; None if binary data follows the JSON."""

    name: str
    shape: _Few[StrictInt]
    datatype: str
    parameters: Parameters = None
    data: Any = None


class WantedOutput(BaseModel):
    name: str
    parameters: Parameters = None


class InferRequest(BaseModel):
    id: str | None = None
    parameters: Parameters = None
    inputs: _Few[InputTensor]
    outputs: _Few[WantedOutput] | None = None


class OutputTensor(TensorMetadata):
    parameters: dict[str, int] | None = Field(
        None, description="`binary_data_size`, if the data follows the JSON."
    )
    data: list[float] | None = Field(None, description="Row-major, in one flat list.")


class InferResponse(BaseModel):
    model_name: str
    model_version: str
    id: str | None = Field(None, description="That of the request, if it has one.")
    outputs: list[OutputTensor]


def path_parameters(path: str) -> list[dict[str, Any]]:
    """The OpenAPI `parameters` of a path, which its endpoint reads from the request."""
    described = {"name": "Of the model.", "version": "A loaded version; without it, the active one."}
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": text}
        for name, text in described.items()
        if f"{{{name}}}" in path
    ]


def _errors(*kinds: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    return openapi_responses(*kinds, example=lambda kind: Error(error=kind.example))


NO_KEY = _errors(*KEY_ERRORS)
NOT_READY = _errors(NotReady)
UNKNOWN_MODEL = _errors(UnknownModel)
_OF_PICTURES: set[type[ServiceError]] = {
    MalformedJson,
    UndecodableImage,
    TooManyPixels,
    UnsupportedFormat,
    ImageTooSmall,
}
_INFER_ERRORS: list[type[ServiceError]] = [kind for kind in JSON_CROPS_ERRORS if kind not in _OF_PICTURES]
INFER: dict[str, Any] = {
    "responses": {
        200: {
            "model": InferResponse,
            "description": "The JSON; with binary data, that follows the JSON.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            "headers": {
                HEADER_LENGTH: {
                    "schema": {"type": "integer"},
                    "description": "Bytes of the JSON, if binary data follows it.",
                }
            },
        },
        **_errors(InvalidTensor, *_INFER_ERRORS),
    },
}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"const": INPUT},
        "shape": {"type": "array", "items": {"type": "integer"}, "description": "[N, 3, h, w]"},
        "datatype": {"const": DATATYPE},
        "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
        "data": {"type": "array", "description": "RGB from 0 to 1, flat or nested as the shape."},
    },
}
_WANTED = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"const": OUTPUT},
        "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
    },
}
INFER_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["inputs"],
                "properties": {
                    "id": {"type": "string"},
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "binary_data_output": {"type": "boolean"},
                            "timeout": {"type": "integer", "description": "Microseconds."},
                        },
                    },
                    "inputs": {"type": "array", "items": _TENSOR, "minItems": 1, "maxItems": 1},
                    "outputs": {"type": "array", "items": _WANTED, "maxItems": 1},
                },
            },
        },
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
INFER_HEADERS = [
    {
        "name": HEADER_LENGTH,
        "in": "header",
        "schema": {"type": "string", "pattern": "^[0-9]{1,9}$"},
        "description": "Bytes of the JSON, if binary data follows it.",
    },
    DEADLINE_HEADER,
]
