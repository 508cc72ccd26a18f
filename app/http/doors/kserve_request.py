"""The body of an inference request -> its tensor, checked.

    body -> unpacked, if it is compressed -> JSON, and perhaps binary data after it -> InferCall

Binary data is used where it lies in the body. A tile of 16x64 is 12 KB of binary data, or 62 KB of JSON.
"""

import re
import zlib
from dataclasses import dataclass
from math import prod
from typing import TypeVar

import numpy as np
from pydantic import ValidationError
from pydantic_core import from_json

from app.errors import EmptyBody, InvalidTensor, ResultTooLarge, TooManyBytes, TooManyImages
from app.http.doors.kserve_schemas import (
    DATATYPE,
    HEADER_LENGTH,
    INPUT,
    OUTPUT,
    InferRequest,
    InputTensor,
    Parameters,
)
from model_store.manifest import Manifest, PixelSpec
from model_store.pixels import Nchw

T = TypeVar("T")
WINDOW_BITS = {"gzip": 31, "deflate": 15}  # of zlib, by Content-Encoding
MAX_JSON_BYTES = 8 * 1024 * 1024  # parsing stops the event loop: 30 ms for so much, 0.2 s for the worst
MAX_PARTS = 2**16  # lists, objects and quotes of the JSON; Python takes seconds for millions of them
MAX_JSON_RESULTS = 2**20  # numbers, 20 MB of text; 64 tiles of 16x64 give 786,432
MAX_TIMEOUT_US = 10**12
_CALL = f'{{"inputs": [{{"name": "{INPUT}", "shape": [1, 3, 16, 64], "datatype": "{DATATYPE}", "data": [...]}}]}}'


@dataclass(frozen=True)
class InferCall:
    """A request that has been read and checked.

    lr_nchw: float32 (N, 3, h, w). binary: whether the response holds binary data. timeout_s: None: not limited.
    """

    id: str | None
    lr_nchw: Nchw
    binary: bool
    timeout_s: float | None


@dataclass(frozen=True)
class RequestReader:
    """Reads the requests to one model. max_tiles: in one request. max_bytes: of an unpacked body."""

    manifest: Manifest
    max_tiles: int
    max_bytes: int

    def read(self, body: bytes, *, encoding: str = "", header_length: str | None = None) -> InferCall:
        """encoding: one of WINDOW_BITS, or empty. header_length: the value of HEADER_LENGTH.

        Raises the BadInput that names the fault.
        """
        if encoding:
            body = _unpacked(body, encoding, max_bytes=self.max_bytes)
        length = _json_length(body, header_length)
        request = _parsed(body[:length])
        if len(request.inputs) != 1:
            raise InvalidTensor(f"The request has {len(request.inputs)} inputs; send one, {INPUT!r}.")
        lr = self._tensor(request.inputs[0], body, length)
        if encoding:
            lr = lr.copy()  # frees the unpacked body, which no limit counts
        call = InferCall(request.id, lr, _wants_binary(request), _timeout_s(request))
        if not call.binary and (results := lr.size * self.manifest.pixels.scale**2) > MAX_JSON_RESULTS:
            raise ResultTooLarge(
                f"The output would have {results} numbers; JSON holds at most {MAX_JSON_RESULTS}. Ask for binary "
                "data with the parameter binary_data_output, or send fewer tiles in one request."
            )
        return call

    def _tensor(self, tensor: InputTensor, body: bytes, length: int) -> Nchw:
        """length: of the JSON."""
        if tensor.name != INPUT:
            raise InvalidTensor(f"There is no input {tensor.name[:100]!r}; the model's input is {INPUT!r}.")
        if tensor.datatype != DATATYPE:
            raise InvalidTensor(f"The datatype of {INPUT!r} is {tensor.datatype[:100]!r}; send {DATATYPE}.")
        self._check_shape(tensor.shape)
        follow = len(body) - length
        size = _parameter(tensor.parameters, "binary_data_size", int)
        if size is not None:
            lr = _from_binary(body, tensor, size, follow=follow)
        elif follow:
            raise InvalidTensor(f"{follow} bytes follow the JSON, and {INPUT!r} has no binary_data_size.")
        else:
            lr = _from_json(tensor)
        _check_values(lr, self.manifest.pixels)
        return lr

    def _check_shape(self, shape: list[int]) -> None:
        sizes = self.manifest.input_sizes
        if len(shape) != 4 or shape[0] < 1 or shape[1] != 3 or tuple(shape[2:]) not in sizes:
            known = ", ".join(f"{height}x{width}" for height, width in sizes)
            advice = "; transpose(0, 3, 1, 2) puts the channels first" if len(shape) == 4 and shape[3] == 3 else ""
            shown = str(shape[:8])[:200]
            raise InvalidTensor(
                f"The shape of {INPUT!r} is {shown}; send [N, 3, h, w] with h x w one of {known}{advice}."
            )
        if shape[0] > self.max_tiles:
            raise TooManyImages(
                f"At most {self.max_tiles} tiles are taken in one request; send the others in further requests."
            )


def _unpacked(body: bytes, encoding: str, *, max_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(WINDOW_BITS[encoding])
    try:
        unpacked = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as exc:
        raise InvalidTensor(f"Content-Encoding is {encoding}, and the body is not {encoding} data.") from exc
    if len(unpacked) > max_bytes:
        raise TooManyBytes(f"The unpacked body is larger than {max_bytes} bytes; send fewer tiles in one request.")
    if not unpacker.eof:
        raise InvalidTensor(f"The {encoding} data of the body is cut off.")
    return unpacked


def _json_length(body: bytes, header_length: str | None) -> int:
    if not body:
        raise EmptyBody(f"The body is empty; send {_CALL}.")
    length = len(body)
    if header_length is not None:
        length = int(header_length) if re.fullmatch("[0-9]{1,9}", header_length) else 0
        if not 0 < length <= len(body):
            raise InvalidTensor(
                f"{HEADER_LENGTH} is {header_length[:20]!r}; it must be the length of the JSON at the beginning "
                f"of the body, which has {len(body)} bytes."
            )
    if length > MAX_JSON_BYTES:
        raise TooManyBytes(
            f"The JSON has {length} bytes; at most {MAX_JSON_BYTES} are read. Send the tensor as binary data, "
            f"with its parameter binary_data_size and the header {HEADER_LENGTH}."
        )
    return length


def _parsed(text: bytes) -> InferRequest:
    if sum(text.count(sign) for sign in (b"[", b"{", b'"')) > MAX_PARTS:
        raise InvalidTensor("The JSON holds too many lists, objects and strings; send 'data' as one flat list.")
    try:
        return InferRequest.model_validate(from_json(text, allow_inf_nan=False))
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"])) or "The request"
        raise InvalidTensor(f"{where}: {fault['msg']}. Send {_CALL}.") from exc
    except ValueError as exc:
        raise InvalidTensor(
            f"The JSON cannot be read: {exc}. Send {_CALL}; if binary data follows, the header {HEADER_LENGTH} "
            "gives the length of the JSON."
        ) from exc


def _from_binary(body: bytes, tensor: InputTensor, size: int, *, follow: int) -> Nchw:
    """size: as the request names it. follow: bytes after the JSON."""
    if tensor.data is not None:
        raise InvalidTensor(f"{INPUT!r} has both 'data' and binary_data_size; send one of them.")
    needed = 4 * prod(tensor.shape)
    if not size == needed == follow:
        raise InvalidTensor(
            f"The shape {tensor.shape} in {DATATYPE} takes {needed} bytes, binary_data_size is {str(size)[:20]}, "
            f"and {follow} bytes follow the JSON; the three must be equal."
        )
    return np.frombuffer(body, "<f4", offset=len(body) - follow).reshape(tensor.shape)


def _from_json(tensor: InputTensor) -> Nchw:
    if tensor.data is None:
        raise InvalidTensor(f"{INPUT!r} has neither 'data' nor binary data with the parameter binary_data_size.")
    lengths, first, needed = [], tensor.data, prod(tensor.shape)
    while isinstance(first, list):
        lengths.append(len(first))
        first = first[0] if first else None
    if lengths not in (tensor.shape, [needed]):
        raise InvalidTensor(
            f"'data' is a list of the shape {lengths[:8]}; the shape {tensor.shape} takes {needed} numbers, flat "
            "or nested."
        )
    try:
        if isinstance(first, str):  # NumPy would read "0.5" as a number
            raise TypeError
        with np.errstate(over="ignore"):  # infinity then, which is refused
            values = np.array(tensor.data, np.float32)
    except (TypeError, ValueError, OverflowError) as exc:
        raise InvalidTensor("'data' must be one list of numbers, flat or nested as the shape.") from exc
    return values.reshape(tensor.shape)


def _check_values(lr_nchw: Nchw, spec: PixelSpec) -> None:
    """Bicubic resizing may go a little beyond the range; levels of 8 bits go far beyond."""
    with np.errstate(invalid="ignore"):
        low, high = float(lr_nchw.min()), float(lr_nchw.max())
    if not np.isfinite([low, high]).all():
        raise InvalidTensor(f"{INPUT!r} holds NaN or infinity; send RGB from {spec.low:g} to {spec.high:g}.")
    margin = (spec.high - spec.low) / 2
    if low < spec.low - margin or high > spec.high + margin:
        raise InvalidTensor(
            f"The values of {INPUT!r} go from {low:.4g} to {high:.4g}; send RGB from {spec.low:g} to "
            f"{spec.high:g}: levels of 8 bits divided by 255, and not normalised in any other way."
        )


def _wants_binary(request: InferRequest) -> bool:
    outputs = request.outputs or []
    if len(outputs) > 1 or any(output.name != OUTPUT for output in outputs):
        names = ", ".join(repr(output.name[:100]) for output in outputs[:4])
        raise InvalidTensor(f"The outputs asked for are {names}; the model's only output is {OUTPUT!r}.")
    default = _parameter(request.parameters, "binary_data_output", bool)
    own = _parameter(outputs[0].parameters, "binary_data", bool) if outputs else None
    return bool(default if own is None else own)


def _timeout_s(request: InferRequest) -> float | None:
    """The parameter `timeout` counts microseconds; 0 is none, as for Triton."""
    timeout_us = _parameter(request.parameters, "timeout", int) or 0
    if not 0 <= timeout_us <= MAX_TIMEOUT_US:
        raise InvalidTensor(f"The parameter timeout must be 0 to {MAX_TIMEOUT_US} microseconds.")
    return timeout_us / 1e6 or None


def _parameter(parameters: Parameters, name: str, kind: type[T]) -> T | None:
    """Raises InvalidTensor for a value of another type, and for the parameters of extensions that are missing."""
    found = parameters or {}
    for missing in ("shared_memory_region", "classification"):
        if missing in found:
            raise InvalidTensor(f"The parameter {missing} is not supported; tensors travel in the body.")
    value = found.get(name)
    if value is None:
        return None
    if type(value) is not kind:  # True is an int, too
        wanted = "true or false" if kind is bool else "a whole number"
        raise InvalidTensor(f"The parameter {name} must be {wanted}.")
    return value
