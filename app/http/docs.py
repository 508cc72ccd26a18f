"""The documentation page at `/docs`: Swagger UI, with its files from the package fastapi_offline.

Its addresses are relative, as the demo page's are, and so is the server in `/openapi.json`: they fit behind any
prefix that a proxy takes away, and no header has to name it.
"""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
SERVERS = [{"url": "."}]  # relative to the address of `/openapi.json` (OpenAPI 3.1, 4.8.5)
_STATIC = Path(fastapi_offline.__file__).parent / "static"


def mount_docs(app: FastAPI) -> None:
    script, style, icon = (f"static-offline-docs/{name}" for name in FILES)
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=script,
        swagger_css_url=style,
        swagger_favicon_url=icon,
    ).body
    router = APIRouter(include_in_schema=False)

    @router.head("/docs")
    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(page)

    @router.head("/static-offline-docs/{name}")
    @router.get("/static-offline-docs/{name}")
    async def file(name: str) -> FileResponse:
        if name not in FILES:
            raise HTTPException(404)
        return FileResponse(_STATIC / name)

    app.include_router(router)
