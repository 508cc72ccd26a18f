"""The query parameters of the super-resolution endpoints: read, checked and documented.

FastAPI documents the parameters and does not read them: that would take 48 us more of processor time a request.
"""

import re
from difflib import get_close_matches
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import InvalidParameter
from app.imaging.encode import Format
from app.imaging.quality_gate import DEFAULT_MODE, Mode, RoutingPolicy, routing_policy
from app.imaging.regions import Units
from app.ocr.engine import RECOGNISER
from app.serving.page import PageOptions
from app.serving.page_reading import Layout, PageReadingOptions
from app.serving.pipeline import CropOptions
from app.settings import Settings
from model_store.tiling import Geometry

TIMEOUT_MS = "X-Request-Timeout-Ms"
DEADLINE_HEADER = {  # in OpenAPI
    "name": TIMEOUT_MS,
    "in": "header",
    "schema": {"type": "string", "pattern": "^[0-9]{1,9}$"},
    "description": "Deadline in milliseconds; may only shorten the configured one.",
}
Q = TypeVar("Q", bound=BaseModel)


class Query(BaseModel):
    """An unknown parameter is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Format | None = Field(
        None,
        description="Format of the pictures in the response; default: the one of `Accept`, else PNG. PNG and WebP "
        "are lossless, JPEG has quality 95.",
    )
    mode: Mode = Field(
        DEFAULT_MODE,
        description="`auto`: super-resolves the crops that it helps to read, and enlarges the others without the "
        "network. `always`: super-resolves every crop as it is best for `recogniser`, or for any.",
    )
    recogniser: str | None = Field(
        None,
        description="The text recogniser that reads the response: one of the `recognisers` of `GET /v1/models`, "
        "or `any`. It gets the picture that it reads best: the crop super-resolved at twice its size, or the crop "
        "itself.",
    )
    model: str | None = Field(
        None, description="`name` (its active version) or `name:version`; default: the first listed."
    )

    def policy(self, geometry: Geometry = "native") -> RoutingPolicy:
        """Raises InvalidParameter."""
        return routing_policy(self.mode if "mode" in self.model_fields_set else None, self.recogniser, geometry)


class CropQuery(Query):
    geometry: Geometry = Field(
        "native",
        description="`native`: twice the input's width and height. `telescope`: exactly the reference behaviour, "
        "stretched to 64x16 and returned as 128x32.",
    )

    def options(self) -> CropOptions:
        """Raises InvalidParameter."""
        return CropOptions(self.geometry, self.policy(self.geometry))


class PageQuery(Query):
    units: Units = Field(
        "pixels", description="Of the regions: `pixels`, or `relative` to the page's width and height (docTR)."
    )
    recompose: bool = Field(
        False, description="Return the page at twice its size, the super-resolved regions in their places."
    )

    def options(self) -> PageOptions:
        """Raises InvalidParameter."""
        return PageOptions(self.units, self.recompose, self.policy())


class PageReadingQuery(Query):
    read: bool = Field(
        False,
        description="Read every line, the lines of an unsure reading once more super-resolved, and keep the surer "
        "reading. The recogniser is PP-OCRv6 (`rapidocr-v6`).",
    )
    recompose: bool = Field(
        False,
        description="Return the page at twice its size, in their places the lines that were super-resolved; with "
        "`read` those alone that are read more surely so.",
    )
    pictures: bool = Field(True, description="Of the lines, in JSON and ZIP.")
    layout: Layout = Field(
        "auto",
        description="`page`: lines of text are detected. `line`: the picture is one line as it is. `auto`: a low "
        "picture is one line.",
    )

    def options(self) -> PageReadingOptions:
        """Raises InvalidParameter."""
        if self.read and self.recogniser not in (None, RECOGNISER):
            raise InvalidParameter(
                f"recogniser is {self.recogniser[:50]!r}, but {RECOGNISER} reads with read=true; leave one out."
            )
        policy = self.policy()
        return PageReadingOptions(self.read, self.recompose, self.pictures, self.layout, policy)


def read_query(request: Request, kind: type[Q]) -> Q:
    """The request's query. Raises InvalidParameter that names the first wrong parameter."""
    try:
        return kind.model_validate(dict(request.query_params))
    except ValidationError as exc:
        first = exc.errors()[0]
        if first["type"] == "extra_forbidden":
            raise InvalidParameter(_unknown(str(first["loc"][0]), list(kind.model_fields))) from exc
        name, value = first["loc"][0], str(first["input"])[:100]
        known = "true or false" if first["type"] == "bool_parsing" else first["msg"]
        known = known.removeprefix("Input should be ")
        raise InvalidParameter(f"The query parameter {name!r} is {value!r}; it must be {known}.") from exc


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name[:100].lower(), known, n=1)
    nearest = f"; the nearest one is {near[0]!r}" if near else ""
    return f"There is no query parameter {name[:100]!r}{nearest}. This address takes {', '.join(known)}."


def timeout_s(request: Request) -> float:
    """Seconds that the request may take. Raises InvalidParameter for a header that is no positive number."""
    settings: Settings = request.app.state.settings
    header = request.headers.get(TIMEOUT_MS)
    if header is None:
        return settings.request_timeout_ms / 1000
    if not re.fullmatch("[0-9]{1,9}", header) or int(header) == 0:  # int() refuses thousands of digits
        raise InvalidParameter(f"{TIMEOUT_MS} is {header[:20]!r}; it must be 1 to 999999999 milliseconds.")
    return min(int(header), settings.request_timeout_ms) / 1000


def query_parameters(kind: type[BaseModel]) -> list[dict[str, Any]]:
    """The OpenAPI `parameters` of an endpoint that reads this query."""
    listed: list[dict[str, Any]] = []
    for name, schema in kind.model_json_schema()["properties"].items():
        description = schema.pop("description")
        listed.append(
            {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
        )
    return listed


def openapi_parameters(kind: type[Query]) -> list[dict[str, Any]]:
    """The OpenAPI `parameters` of an endpoint that reads this query and the deadline."""
    return [*query_parameters(kind), DEADLINE_HEADER]
