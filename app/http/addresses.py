"""The right call, for an address that does not exist and for a method that an address does not take."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import zip_longest

from fastapi import Request
from starlette.types import Scope

# With TELESCOPE_ADMIN_PORT these are on that port alone; also the documentation's files, and what only redirects.
OPERATORS = re.compile(
    r"/(metrics|docs|redoc|openapi\.json|static-offline-docs)(/.*)?|/v1/models/[^/]*/activate", re.DOTALL
)
_PAGES = ("/docs", "/redoc", "/openapi.json")
_CALLS = {
    "/v1/super-resolve": "curl -F image=@crop.png .../v1/super-resolve",
    "/v1/super-resolve/regions": "curl -F image=@page.png -F regions=@boxes.json .../v1/super-resolve/regions",
}
_MAX_PATH = 200  # characters of an address that are compared and shown; none of ours is as long


def path_of(scope: Scope) -> str:
    """The request's path below the prefix, if an ASGI server names one."""
    return str(scope.get("path", "")).removeprefix(scope.get("root_path", ""))


def unknown_address(request: Request) -> str:
    """The message for an address that does not exist. It names the nearest one that does."""
    path, known = path_of(request.scope).rstrip("/"), _known(request)
    advice = f"Pictures go to POST /v1/super-resolve: {_CALLS['/v1/super-resolve']}. Health is GET /readyz."
    if near := _nearest(path[:_MAX_PATH].lower(), known):
        told = "Leave out the slash at the end" if _filled(near, path) == path else "The nearest address is"
        advice = f"{told}: {known[near]} {near}."
    return f"There is no address {_shown(request)}. {advice}{_documentation(request)}"


def wrong_method(request: Request, allowed: str) -> str:
    """The message for a method that an address does not take. allowed: the methods that it takes."""
    call = _CALLS.get(path_of(request.scope))
    takes = f"{allowed}, for example {call}" if call else allowed
    return f"{request.method} does not fit {_shown(request)}; it takes {takes}.{_documentation(request)}"


def _nearest(path: str, known: Iterable[str]) -> str | None:
    """The most similar of the known addresses: of those with the same first part, such as /v2, else of all."""
    filled = {_filled(address, path): address for address in known}
    below = [address for address in filled if address.split("/")[:2] == path.split("/")[:2]]
    near = get_close_matches(path, below, n=1, cutoff=0.6) or get_close_matches(path, filled, n=1, cutoff=0.75)
    return filled[near[0]] if near else None


def _filled(address: str, path: str) -> str:
    """/v2/models/{name}/infer with the name that stands at that place of the path."""
    pairs = zip_longest(address.split("/"), path.split("/")[: address.count("/") + 1])
    return "/".join(given if part.startswith("{") and given else part for part, given in pairs)


def _shown(request: Request) -> str:
    path = request.url.path
    return path if len(path) <= _MAX_PATH else f"{path[:_MAX_PATH]}..."


def _known(request: Request) -> dict[str, str]:
    """The addresses of the request's port, with their methods."""
    described = request.app.openapi()["paths"]
    known = {path: "/".join(sorted(operations)).upper() for path, operations in described.items()}
    known |= dict.fromkeys(_PAGES, "GET")
    if _has_operators(request):
        return known
    return {path: methods for path, methods in known.items() if not OPERATORS.fullmatch(path)}


def _documentation(request: Request) -> str:
    return " All addresses, with examples: /docs." if _has_operators(request) else ""


def _has_operators(request: Request) -> bool:
    """Whether the request's port has the operators' addresses."""
    admin_port = request.app.state.settings.admin_port
    return not admin_port or request.scope["server"][1] == admin_port
