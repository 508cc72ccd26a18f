"""With TELESCOPE_ADMIN_PORT, the operators' addresses are found on that port alone.

That port has everything, so that the documentation's "Try it out" works there too; the other one lacks the
addresses named here. Health is on both. One process and one event loop: uvicorn listens on two sockets.
"""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import NotFound
from app.http.addresses import OPERATORS, path_of
from app.http.problems import respond


class AdminPort:
    def __init__(self, app: ASGIApp, *, port: int) -> None:
        self.app = app
        self.port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_of(scope)
        if scope["type"] != "http" or scope["server"][1] == self.port or not OPERATORS.fullmatch(path):
            await self.app(scope, receive, send)
            return
        response = respond(Request(scope), NotFound(f"There is no address {path} on this port."))
        await response(scope, receive, send)
