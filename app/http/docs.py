"""The documentation: Swagger UI at `/docs` and ReDoc at `/redoc`, with the files of the package fastapi_offline.

Their addresses are relative, as the demo page's are, and so is the server in `/openapi.json`: they fit behind any
prefix that a proxy takes away, and no header has to name it.
"""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js", "favicon.png")
SERVERS = [{"url": "."}]  # relative to the address of `/openapi.json` (OpenAPI 3.1, 4.8.5)
_STATIC = Path(fastapi_offline.__file__).parent / "static"
# ReDoc's script would ask another host for its maker's logo.
_REDOC_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; worker-src blob:"
}


def mount_docs(app: FastAPI) -> None:
    swagger_script, swagger_style, redoc_script, icon = (f"static-offline-docs/{name}" for name in FILES)
    swagger = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=swagger_script,
        swagger_css_url=swagger_style,
        swagger_favicon_url=icon,
    ).body
    redoc_page = get_redoc_html(
        openapi_url="openapi.json",
        title=app.title,
        redoc_js_url=redoc_script,
        redoc_favicon_url=icon,
        with_google_fonts=False,
    ).body
    router = APIRouter(include_in_schema=False)

    @router.head("/docs")
    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(swagger)

    @router.head("/redoc")
    @router.get("/redoc")
    async def redoc() -> HTMLResponse:
        return HTMLResponse(redoc_page, headers=_REDOC_HEADERS)

    @router.head("/static-offline-docs/{name}")
    @router.get("/static-offline-docs/{name}")
    async def file(name: str) -> FileResponse:
        if name not in FILES:
            raise HTTPException(404)
        return FileResponse(_STATIC / name)

    app.include_router(router)
