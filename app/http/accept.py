"""Content negotiation: the shape and the picture format of a response (RFC 9110, 12.5.1)."""

from typing import Literal, NamedTuple

from starlette.requests import HTTPConnection

from app.imaging.encode import MEDIA_TYPES, Format

Shape = Literal["image", "json", "zip"]
_SHAPES: dict[Shape, str] = {"image": "image/*", "json": "application/json", "zip": "application/zip"}
_FORMATS: tuple[Format, ...] = ("png", "webp", "jpeg")  # lossless ones first


class Representation(NamedTuple):
    shape: Shape
    image_format: Format


def negotiate(request: HTTPConnection, *, one_picture: bool, image_format: Format | None = None) -> Representation:
    """The representation that the client's Accept headers prefer.

    one_picture: the response may be a picture itself; several pictures need JSON or a ZIP. image_format: as the
    query asks for it; None leaves it to the headers, and to PNG. On equal preference the more specific range wins,
    then the picture. A client that accepts nothing on offer gets the first offer, which helps it more than a
    refusal.
    """
    accept = ",".join(request.headers.getlist("accept"))
    ranges = [_range(element) for element in accept.split(",") if element.strip()] or [("*/*", 1.0)]
    shapes: list[Shape] = ["image", "json", "zip"] if one_picture else ["json", "zip"]
    shape = max(shapes, key=lambda offer: _preference(ranges, _SHAPES[offer]))
    best = max(_FORMATS, key=lambda offer: _preference(ranges, MEDIA_TYPES[offer]))
    return Representation(shape, image_format or best)


def _range(element: str) -> tuple[str, float]:
    """A media range in lower case, with its quality."""
    media, *parameters = (part.strip().lower() for part in element.split(";"))
    return media, next((_number(p[2:]) for p in parameters if p.startswith("q=")), 1.0)


def _preference(ranges: list[tuple[str, float]], media: str) -> tuple[float, int]:
    """(quality, specificity) of the most specific range that covers `media`."""
    kind = media.partition("/")[0]
    best = (0.0, -1)
    for wanted, quality in ranges:
        if wanted == media or (media == f"{kind}/*" and wanted.startswith(f"{kind}/")):
            specificity = 2
        elif wanted == f"{kind}/*":
            specificity = 1
        elif wanted == "*/*":
            specificity = 0
        else:
            continue
        if specificity > best[1] or (specificity == best[1] and quality > best[0]):
            best = (quality, specificity)
    return best


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0
