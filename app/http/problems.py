"""Errors as `application/problem+json` (RFC 9457): bodies, responses, exception handlers, OpenAPI examples.

The status, code and title of an error stand on its class in `app/errors.py`.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from app.errors import BadInput, MethodNotAllowed, NotFound, ServiceError
from app.http.addresses import path_of, unknown_address, wrong_method
from app.http.schemas import Problem

MEDIA_TYPE = "application/problem+json"
ErrorForm = Callable[[ServiceError, str], object]  # an error and its request's id -> the JSON of the response
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Bearer."}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds, computed."}},
}


class HttpError(BadInput):
    """An error that the framework raised, with its own status."""

    code = "http_error"

    def __init__(self, error: HTTPException, message: str) -> None:
        super().__init__(message)
        self.status, self.title = error.status_code, str(error.detail)


def problem(error: ServiceError | type[ServiceError], detail: str, request_id: str) -> Problem:
    return Problem(
        type=f"urn:text-telescope:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=detail,
        code=error.code,
        request_id=request_id,
    )


def respond(request: Request, error: ServiceError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The error as a response, and in the request's record. headers: in addition to the error's own."""
    record = request.state.record
    record.code, record.outcome = error.code, error.outcome
    headers = {**error.headers, **(headers or {})}
    if form := _form(request):
        return JSONResponse(form(error, record.request_id), status_code=error.status, headers=headers)
    body = problem(error, str(error), record.request_id).model_dump()
    return JSONResponse(body, status_code=error.status, headers=headers, media_type=MEDIA_TYPE)


def _form(request: Request) -> ErrorForm | None:
    path, forms = path_of(request.scope), request.app.state.error_forms
    return next((form for prefix, form in forms.items() if f"{path}/".startswith(f"{prefix}/")), None)


def _example(kind: type[ServiceError]) -> BaseModel:
    return problem(kind, kind.example, "8f14e45fceea467a9c1d3b2a5e6f7081")


def openapi_responses(
    *kinds: type[ServiceError], example: Callable[[type[ServiceError]], BaseModel] = _example
) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for these errors, grouped by status, with an example for each code.

    example: an error in the form of its address.
    """
    by_status: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        shown = example(kind)
        if isinstance(shown, Problem):
            new: dict[str, Any] = {
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}}
            }
        else:
            new = {"content": {"application/json": {"examples": {}}}, "model": type(shown)}
        entry = by_status.setdefault(kind.status, new)
        (described,) = entry["content"].values()
        examples = described["examples"]
        examples[kind.code] = {"summary": kind.title, "value": shown.model_dump(exclude_none=True)}
        codes = ", ".join(f"`{code}`" for code in examples)
        entry["description"] = f"{HTTPStatus(kind.status).phrase}: {codes}"
        if kind.status in _HEADERS:
            entry["headers"] = _HEADERS[kind.status]
    return by_status


def add_problem_handlers(app: FastAPI, forms: Mapping[str, ErrorForm]) -> None:
    """Every error leaves the application as a problem; at the paths of `forms` and below, in their form."""
    app.state.error_forms = forms
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(HTTPException, _http_error)


async def _service_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ServiceError)
    return respond(request, exc)


async def _http_error(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    if exc.status_code == NotFound.status:
        return respond(request, NotFound(unknown_address(request)), exc.headers)
    if exc.status_code == MethodNotAllowed.status:
        allowed = (exc.headers or {}).get("Allow", "")
        return respond(request, MethodNotAllowed(wrong_method(request, allowed)), exc.headers)
    message = f"{request.method} {request.url.path}: {exc.detail}."
    return respond(request, HttpError(exc, message), exc.headers)
