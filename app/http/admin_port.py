"""With TELESCOPE_ADMIN_PORT, the operators' addresses are found on that port alone.

That port has everything, so that the documentation's "Try it out" works there too; the other one lacks the
addresses named here. Health is on both. One process and one event loop: uvicorn listens on two sockets.
"""

import re

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import NotFound
from app.http.problems import respond

# Also the files of the documentation's page, and addresses that would only redirect.
_OPERATORS = re.compile(
    r"/(metrics|docs|openapi\.json|static-offline-docs)(/.*)?|/v1/models/[^/]*/activate", re.DOTALL
)


class AdminPort:
    def __init__(self, app: ASGIApp, *, port: int) -> None:
        self.app = app
        self.port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope["server"][1] == self.port or not _OPERATORS.fullmatch(path):
            await self.app(scope, receive, send)
            return
        response = respond(Request(scope), NotFound(f"{scope['method']} {path}: Not Found."))
        await response(scope, receive, send)
