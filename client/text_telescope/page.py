"""A page as the service found and read it: `TelescopeClient.page`.

page -> service: detect -> lines -> read, super-resolve, read again -> PageResult of PageLines
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from text_telescope.exchange import BadImage, problem_of
from text_telescope.pictures import Answer, Channels, as_given
from text_telescope.second_opinion import Opinion

if TYPE_CHECKING:
    import httpx

P = TypeVar("P")  # the kind of the page's picture: an array, a PIL image, or for a file an Answer
Point = tuple[float, float]


@dataclass(frozen=True)
class PageLine:
    """One line of text on a page.

    box: four points (x, y), clockwise from the text's top left, in pixels of the page held upright.
    text, confidence: the reading that was kept; "" and 0 without `read=True`, or if the line failed.
    plain, super_resolved: the readings of the line as it is and super-resolved; None if there was none.
    kept: the reading that `text` comes from.
    method, reason: how the service treated the line, as in `Answer`.
    picture: of the line, with `pictures=True`; twice as large if the line was super-resolved or enlarged.
    error: the reason why the line has neither text nor picture; the other lines are unaffected.
    """

    box: tuple[Point, ...]
    text: str = ""
    confidence: float = 0.0
    plain: Opinion | None = None
    super_resolved: Opinion | None = None
    kept: Literal["plain", "super_resolved"] | None = None
    method: str | None = None
    reason: str | None = None
    picture: Answer | None = None
    error: BadImage | None = None


@dataclass(frozen=True)
class PageResult(Generic[P]):
    """The lines of a page in reading order.

    text: of all lines, joined by line ends; "" without `read=True`.
    picture: with `recompose=True`, the page at twice its size, of the kind of the page that was given.
    response: the service's JSON without its pictures; it also names the model and the recogniser.
    """

    text: str
    lines: list[PageLine]
    picture: P | None = None
    response: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def in_kind_of(self: PageResult[Answer], page: object, channels: Channels) -> PageResult[Any]:
        """The result with its picture in the kind of `page`. Blocking: decodes it."""
        picture = self.picture and as_given(self.picture, page, channels)
        return PageResult(self.text, self.lines, picture, self.response)


def read_page(response: httpx.Response) -> PageResult[Answer]:
    """The result of an accepted response. Raises ValueError, KeyError or TypeError for another program's."""
    body = response.json()
    lines = [_line(fields, index) for index, fields in enumerate(body["lines"])]
    return PageResult(body["text"] or "", lines, _picture(body["page"]), body)


def _line(fields: dict[str, Any], index: int) -> PageLine:
    box = tuple((x, y) for x, y in fields["box"])
    if fields["outcome"] == "failed":
        return PageLine(box, error=BadImage(index, problem_of(fields["problem"])))
    reading = fields["reading"] or {}
    return PageLine(
        box,
        reading.get("text", ""),
        reading.get("confidence", 0.0),
        _opinion(reading.get("plain")),
        _opinion(reading.get("super_resolved")),
        reading.get("kept"),
        fields["method"],
        fields["reason"],
        _picture(fields),
    )


def _opinion(fields: dict[str, Any] | None) -> Opinion | None:
    return Opinion(fields["text"], fields["confidence"]) if fields else None


def _picture(fields: dict[str, Any] | None) -> Answer | None:
    """Takes the picture out of the JSON, so that it is held only once."""
    data = fields and fields["data"]
    if not (fields and data):
        return None
    fields["data"] = None
    return Answer(base64.b64decode(data), fields["media_type"], fields.get("method"), fields.get("reason"))
