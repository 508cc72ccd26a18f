"""Which representation a client gets: the picture, JSON or a ZIP, by its Accept header (RFC 9110, 12.5.1)."""

from functools import lru_cache
from typing import Literal

Shape = Literal["image", "json", "zip"]
SHORT = 256  # characters of a header that is remembered
_MEDIA: dict[Shape, str] = {"image": "image/*", "json": "application/json", "zip": "application/zip"}


def choose(accept: str, *, one_picture: bool) -> Shape:
    """The best of what can be offered; on equal quality the more specific wish, then the picture, wins.

    One picture: itself unless the client would rather have JSON or a ZIP. Several: JSON, or a ZIP. A client
    that accepts none of them gets the first, since an answer in another shape helps it more than a refusal.
    """
    return _known(accept, one_picture) if len(accept) <= SHORT else _chosen(accept, one_picture)


def _chosen(accept: str, one_picture: bool) -> Shape:
    offers: list[Shape] = ["image", "json", "zip"] if one_picture else ["json", "zip"]
    return max(offers, key=lambda offer: _preference(accept, _MEDIA[offer]))


_known = lru_cache(_chosen)  # clients send few different ones


def _preference(accept: str, media: str) -> tuple[float, int]:
    """(quality, specificity) of the most specific range in `accept` that covers `media`."""
    kind = media.partition("/")[0]
    best = (0.0, -1)
    for element in accept.split(",") if accept.strip() else ["*/*"]:
        wanted, *parameters = (part.strip().lower() for part in element.split(";"))
        if wanted == media or (media.endswith("/*") and wanted.startswith(f"{kind}/")):
            specificity = 2
        elif wanted == f"{kind}/*":
            specificity = 1
        elif wanted == "*/*":
            specificity = 0
        else:
            continue
        quality = next((_number(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        if specificity > best[1] or (specificity == best[1] and quality > best[0]):
            best = (quality, specificity)
    return best


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0
