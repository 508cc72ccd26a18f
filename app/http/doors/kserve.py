"""The Open Inference Protocol, version 2, over REST, for KServe and Triton's client.

Tiles as the network takes them go in, its results come out; nothing is measured, cut or blended. They share
admission, deadlines and batches with the tiles of pictures.

    model in use -> body within deadline and capacity -> read -> infer while connected -> write
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from app.errors import ServiceError, UnsupportedMediaType
from app.http.body import receive
from app.http.doors import kserve_schemas as schemas
from app.http.doors.kserve_request import WINDOW_BITS, InferCall, RequestReader
from app.http.doors.kserve_response import write
from app.http.doors.kserve_schemas import HEADER_LENGTH, INPUT, OUTPUT, TensorMetadata, path_parameters
from app.http.operations import livez, readyz
from app.http.super_resolve import while_connected
from app.serving.model_service import ServedModel
from app.serving.registry import ModelRegistry
from app.settings import Settings

T = TypeVar("T")
PREFIX = "/v2"
MODEL_PATHS = f"{PREFIX}/models/{{name}}", f"{PREFIX}/models/{{name}}/versions/{{version}}"
PATHS = [f"{path}/infer" for path in MODEL_PATHS]
LIVE, READY = f"{PREFIX}/health/live", f"{PREFIX}/health/ready"
INLINE_BYTES = 64 * 1024  # read on the event loop; a JSON tile of 16x64 takes 0.3 ms
NO_KEY = schemas.NO_KEY
TAG: dict[str, Any] = {"tags": ["Open Inference Protocol"]}

router = APIRouter(**TAG)
open_router = APIRouter(**TAG)  # needs no API key
# A list of numbers takes eight times the memory of its text, so that only one is read or written at a time.
_one_at_a_time = ThreadPoolExecutor(1, "tensors")


def error_form(error: ServiceError, _request_id: str) -> dict[str, str]:
    return {"error": str(error)}


@open_router.get(LIVE, summary="Is the process alive?", responses=schemas.NOT_READY)
async def live(request: Request) -> schemas.Live:
    """As `/livez`."""
    await livez(request)
    return schemas.Live()


@open_router.get(READY, summary="Does the service take requests?", responses=schemas.NOT_READY)
async def ready(request: Request) -> schemas.Ready:
    """As `/readyz`."""
    await readyz(request)
    return schemas.Ready()


@router.get(PREFIX, summary="The server and its extensions")
async def server_metadata() -> schemas.ServerMetadata:
    try:
        return schemas.ServerMetadata(version=version("text-telescope"))
    except PackageNotFoundError:  # run from its folder
        return schemas.ServerMetadata(version="unknown")


@router.post(f"{PREFIX}/repository/index", summary="The index of served models")
async def index(request: Request) -> list[schemas.IndexEntry]:
    """Every loaded model, the default first. The request's body is ignored."""
    models: ModelRegistry = request.app.state.models
    return [
        schemas.IndexEntry(
            name=model.name,
            version=model.version,
            state="READY" if model.batcher.is_open else "UNAVAILABLE",
        )
        for model in models.served
    ]


async def model_metadata(request: Request) -> schemas.ModelMetadata:
    """The names, types and shapes of the network's input and output."""
    models: ModelRegistry = request.app.state.models
    with _served(request) as model:
        dims = _dims(model)
        return schemas.ModelMetadata(
            name=model.name,
            versions=[other.version for other in models.served if other.name == model.name],
            platform=model.predictor.runtime,
            inputs=[TensorMetadata(name=INPUT, shape=[-1, *dims[INPUT]])],
            outputs=[TensorMetadata(name=OUTPUT, shape=[-1, *dims[OUTPUT]])],
        )


async def model_ready(request: Request) -> schemas.ModelReady:
    """200 while the model takes requests."""
    with _served(request) as model:
        model.batcher.check_open()
        return schemas.ModelReady(name=model.name)


async def model_config(request: Request) -> dict[str, Any]:
    """The part of Triton's model configuration that clients read. `input_sizes`: each h x w it may have."""
    settings: Settings = request.app.state.settings
    with _served(request) as model:
        dims = _dims(model)
        sizes = ",".join(f"{height}x{width}" for height, width in model.artefact.manifest.input_sizes)
        return {
            "name": model.name,
            "platform": model.predictor.runtime,
            "max_batch_size": settings.max_images,
            "input": [{"name": INPUT, "data_type": "TYPE_FP32", "dims": dims[INPUT]}],
            "output": [{"name": OUTPUT, "data_type": "TYPE_FP32", "dims": dims[OUTPUT]}],
            "dynamic_batching": {"preferred_batch_size": model.predictor.batch_sizes},
            "parameters": {"input_sizes": {"string_value": sizes}},
        }


async def infer(request: Request) -> Response:
    """Super-resolve tiles: `lr` FP32 (N, 3, h, w), RGB from 0 to 1 -> `sr` FP32 (N, 3, 2h, 2w)."""
    record, encoding = request.state.record, _encoding(request)
    with _served(request) as model:
        with receive(request, model) as body:
            data = await body.read()
            received = time.monotonic()
            async with while_connected(request):
                call = await _read(request, data, encoding, model)
                record.timings.decode_s = time.monotonic() - received
                record.images = len(call.lr_nchw)
                deadline = min(body.deadline, received + call.timeout_s) if call.timeout_s else body.deadline
                tiles = await model.infer(call.lr_nchw, deadline=deadline, timings=record.timings)
        start = time.monotonic()
        sr = [tile.sr for tile in tiles]
        response = await _call(write, call, model.artefact.manifest, sr, inline=call.binary)
        record.timings.encode_s = time.monotonic() - start
        return response


async def _read(request: Request, data: bytes, encoding: str, model: ServedModel) -> InferCall:
    settings: Settings = request.app.state.settings
    reader = RequestReader(model.artefact.manifest, settings.max_images, settings.max_request_bytes)
    length = request.headers.get(HEADER_LENGTH)
    reading = partial(reader.read, encoding=encoding, header_length=length)
    json_bytes = int(length) if length and re.fullmatch("[0-9]{1,9}", length) else len(data)
    return await _call(reading, data, inline=not encoding and json_bytes <= INLINE_BYTES)


async def _call(function: Callable[..., T], *arguments: object, inline: bool = False) -> T:
    if inline:
        return function(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_one_at_a_time, function, *arguments)


def _encoding(request: Request) -> str:
    """The body's Content-Encoding, empty if there is none. Raises UnsupportedMediaType."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return ""
    if encoding not in WINDOW_BITS:
        raise UnsupportedMediaType(
            f"Content-Encoding is {encoding[:100]!r}; send the body as it is, or as gzip or deflate."
        )
    return encoding


@contextmanager
def _served(request: Request) -> Iterator[ServedModel]:
    """The model of the address, in use to the end of the context. Raises UnknownModel."""
    models: ModelRegistry = request.app.state.models
    named = request.path_params
    wanted = f"{named['name']}:{named['version']}" if "version" in named else named["name"]
    with models.find(wanted).used() as model:
        request.state.record.model = model
        yield model


def _dims(model: ServedModel) -> dict[str, list[int]]:
    """The shape of one tile, before and after the network. -1: one of several sizes."""
    manifest = model.artefact.manifest
    trained = (manifest.pixels.height, manifest.pixels.width)
    if len(manifest.input_sizes) > 1:
        return {INPUT: [3, -1, -1], OUTPUT: [3, -1, -1]}
    return {INPUT: [3, *trained], OUTPUT: [3, *(manifest.pixels.scale * side for side in trained)]}


for _path in MODEL_PATHS:
    _named: dict[str, Any] = {"openapi_extra": {"parameters": path_parameters(_path)}}
    _get: dict[str, Any] = _named | {"responses": schemas.UNKNOWN_MODEL}
    router.get(_path, summary="A model's input and output", **_get)(model_metadata)
    router.get(f"{_path}/config", summary="A model's configuration", **_get)(model_config)
    router.get(
        f"{_path}/ready",
        summary="Does the model take requests?",
        **_named,
        responses={**schemas.UNKNOWN_MODEL, **schemas.NOT_READY},
    )(model_ready)
    router.post(
        f"{_path}/infer",
        summary="Super-resolve tiles",
        **schemas.INFER,
        openapi_extra={
            "parameters": [*path_parameters(_path), *schemas.INFER_HEADERS],
            "requestBody": schemas.INFER_BODY,
        },
    )(infer)
