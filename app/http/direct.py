"""Routes that FastAPI documents and does not run: its general way to read a query and a header takes longer than
decoding and encoding a crop.
"""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from app.http.auth import Access

TIMEOUT_MS = "X-Request-Timeout-Ms"
QUERIES = 256  # remembered for each route: clients send few different ones, again and again
SHORT = 256  # bytes of one that is


class DirectRoute(APIRoute):
    """For an endpoint `async (request, parameters, timeout_ms) -> Response`.

    parameters: a frozen model of the query. timeout_ms: the header TIMEOUT_MS. Raises what FastAPI would raise.
    """

    endpoint: Callable[[Request, BaseModel, str | None], Awaitable[Response]]

    def __init__(self, path: str, endpoint: Callable[..., Any], **about: Any) -> None:  # noqa: ANN401  FastAPI's own
        super().__init__(path, endpoint, **about)
        self._model: type[BaseModel] = get_type_hints(endpoint)["parameters"]
        self._known = lru_cache(QUERIES)(self._validated)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # 405
            return
        request = Request(scope, receive, send)
        access: Access = request.app.state.access
        async with access.used(request):
            query = scope["query_string"]
            parameters = self._known(query) if len(query) <= SHORT else self._validated(query)
            response = await self.endpoint(request, parameters, request.headers.get(TIMEOUT_MS))
            await response(scope, receive, send)

    def _validated(self, query: bytes) -> BaseModel:
        try:
            return self._model.model_validate(dict(QueryParams(query)))
        except ValidationError as exc:
            raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in exc.errors()]) from exc
