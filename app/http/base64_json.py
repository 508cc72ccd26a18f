"""JSON bodies with pictures in base64 -> uploads.

    {"images": [{"data": "iVBORw0KGgo...", "filename": "crop.png"}, ...]}         crops
    {"image": {"data": "iVBORw0KGgo..."}, "regions": [[x, y, x, y], ...]}         a page

In the place of {"data": "..."}, the base64 may stand alone. Base64 that cannot be decoded is the error of its
image, and any other fault the error of the request.
"""

import codecs
import json
from binascii import a2b_base64
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, FailFast, Field, ValidationError, model_validator
from pydantic_core import from_json

from app.errors import EmptyBody, InvalidParameter, MalformedJson, TooManyImages, UndecodableImage
from app.http.misplaced import JSON_CALL, is_address, is_data_url, is_file_name, misplaced_text, shown
from app.serving.model_service import Upload

T = TypeVar("T", bound=BaseModel)
MAX_VALUES = 100_000  # in one body; a value is written in two bytes and takes up to 500 bytes of memory
SLICE = 2**20  # characters of base64 decoded at once, in 3 ms: other threads wait so long
PAGE_CALL = """curl -H 'Content-Type: application/json' -d '{"image": {"data": "<base64>"}, "regions": []}'"""
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_FAULTS = {
    "missing": "this field is missing",
    "model_type": "this must be a string of base64, or an object with the field 'data'",
}


class KnownFields(BaseModel):
    """Refuses other fields with one error. `extra="forbid"` makes one for each: 90,000 take half a second."""

    @model_validator(mode="before")
    @classmethod
    def _check_fields(cls, value: Any) -> Any:  # noqa: ANN401  any JSON value
        known = cls.model_fields
        if isinstance(value, dict) and (unknown := value.keys() - known.keys()):
            raise ValueError(f"there is no field {min(unknown)[:50]!r}, but {' and '.join(map(repr, known))}")
        return value


class Picture(KnownFields):
    data: str
    filename: str | None = Field(None, max_length=255)

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:  # noqa: ANN401  any JSON value
        return {"data": value} if isinstance(value, str) else value


class Crops(KnownFields):
    images: Annotated[list[Picture], FailFast()]


class Page(KnownFields):
    image: Picture
    regions: Any


def read_crops(data: bytes, *, max_images: int, too_many: str, call: str = JSON_CALL) -> list[Upload]:
    """The crops, in order. too_many: the message for more than `max_images`. Raises BadInput."""
    images = parse(Crops, data, call=call).images
    if len(images) > max_images:
        raise TooManyImages(too_many)
    if not images:
        raise EmptyBody(f"The list 'images' is empty. The right call: {call}.")
    return [upload(image.data, image.filename, call=call) for image in images]


def read_page(data: bytes) -> tuple[Upload, bytes]:
    """A page and the JSON of its regions. Raises BadInput."""
    page = parse(Page, data, call=PAGE_CALL)
    return upload(page.image.data, page.image.filename, call=PAGE_CALL), json.dumps(page.regions).encode()


def parse(kind: type[T], data: bytes, *, call: str) -> T:
    """The body as `kind`. call: the right call, for error messages.

    Raises EmptyBody, MalformedJson or InvalidParameter.
    """
    if not data:
        raise EmptyBody(f"The JSON body is empty. The right call: {call}.")
    if sum(data.count(mark) for mark in b",[{") > MAX_VALUES:
        raise InvalidParameter(f"The JSON body has more than {MAX_VALUES} values. The right call: {call}.")
    try:
        body = from_json(data.removeprefix(codecs.BOM_UTF8))
    except ValueError as exc:
        text = None if data.lstrip().startswith((b"{", b"[")) else misplaced_text(data, plain=False, in_json=True)
        found = f"holds {text}" if text else f"is not JSON ({exc})"
        raise MalformedJson(f"The body {found}. The right call: {call}.") from exc
    if not isinstance(body, dict):
        raise InvalidParameter(f"The JSON body must be an object. The right call: {call}.")
    try:
        return kind.model_validate(body)
    except ValidationError as exc:
        raise InvalidParameter(f"{_told(exc)}. The right call: {call}.") from exc


def upload(text: str, filename: str | None = None, *, call: str) -> Upload:
    """The picture that this base64 holds, or its error."""
    try:
        return Upload(_decoded(text), filename)
    except ValueError as exc:
        found = f"not base64 ({exc})"
        if is_address(text[:200]):
            found = "an address, and addresses are not fetched"
        elif is_file_name(text[:200]):
            found = "the name of a file"
        elif " " in text.strip():
            found = "not base64, since it holds spaces (a form makes spaces of '+')"
        told = f"The image's data is {found}: {shown(text)}. It must be the base64 of a picture's bytes."
        return Upload(b"", filename, UndecodableImage(f"{told} The right call: {call}."))


def _decoded(text: str) -> bytes:
    """Raises ValueError."""
    text = text.strip()
    if is_data_url(text):  # the URL that a browser makes of a file
        text = text.partition(",")[2]
    try:
        return _strictly(text)
    except ValueError:
        if not text.isascii():
            raise
        # with line ends, in the alphabet for URLs, or without padding
        plain = text.encode("ascii").translate(_URL_SAFE, b"\t\r\n").decode()
        return _strictly(plain + "=" * (-len(plain) % 4))


def _strictly(text: str) -> bytes:
    return b"".join(
        a2b_base64(text[start : start + SLICE], strict_mode=True) for start in range(0, len(text), SLICE)
    )


def _told(error: ValidationError) -> str:
    """The first faults."""
    told = []
    for one in error.errors(include_url=False)[:3]:
        where = ".".join(map(str, ("body", *one["loc"])))
        told.append(f"{where}: {_FAULTS.get(one['type'], one['msg'].removeprefix('Value error, '))}")
    return "; ".join(told)
