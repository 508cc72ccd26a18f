"""The right call, for an address that does not exist and for a method that an address does not take."""

import re
from difflib import get_close_matches

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
_COMPARED = 200  # characters of an address; none is as long


def path_of(scope: Scope) -> str:
    """The request's path below the prefix, if an ASGI server names one."""
    return str(scope.get("path", "")).removeprefix(scope.get("root_path", ""))


def unknown_address(request: Request) -> str:
    """The message for an address that does not exist. It names the nearest one that does."""
    path, known = path_of(request.scope), _known(request)
    advice = f"Pictures go to POST /v1/super-resolve: {_CALLS['/v1/super-resolve']}. Health is GET /readyz."
    if near := get_close_matches(path[:_COMPARED].lower().rstrip("/"), known, n=1, cutoff=0.75):
        slash = "Leave out the slash at the end" if near[0] == path.rstrip("/") else "The nearest address is"
        advice = f"{slash}: {known[near[0]]} {near[0]}."
    return f"There is no address {request.url.path}. {advice}{_documentation(request)}"


def wrong_method(request: Request, allowed: str) -> str:
    """The message for a method that an address does not take. allowed: the methods that it takes."""
    call = _CALLS.get(path_of(request.scope))
    takes = f"{allowed}, for example {call}" if call else allowed
    return f"{request.method} does not fit {request.url.path}; it takes {takes}.{_documentation(request)}"


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
