"""The demo page at `/` and its files below `/web`: static, read once, sent with a strict content security policy.

The page uses the API like any other client: no address exists for it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.params import Depends

from app.ocr.reader import installed
from app.settings import Settings

STATIC = Path(__file__).parent / "static"
HEADERS = {
    # No inline script or style, no other host; the pictures that the page shows are blob: and data: URLs.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # stored, but revalidated each time: page, script and API must match
}
_MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


@dataclass(frozen=True)
class Asset:
    body: bytes
    media_type: str
    etag: str  # of the content, so that all replicas send the same


def mount_demo(app: FastAPI, settings: Settings, guards: Sequence[Depends]) -> None:
    """Add the demo page and its files to the application.

    guards: dependencies that check the API key; if there are any, the page asks for a key.
    """
    assets = {
        file.relative_to(STATIC).as_posix(): _asset(file.suffix, file.read_bytes())
        for file in STATIC.rglob("*.*")
        if file.name != "index.html"
    }
    page = (STATIC / "index.html").read_text()
    for placeholder, value in {
        "{{ocr}}": installed() if settings.ocr != "off" else "",
        "{{ocr-setting}}": settings.ocr,
        "{{key}}": "required" if guards else "",
        "{{operations}}": "elsewhere" if settings.admin_port else "",
    }.items():
        page = page.replace(placeholder, value)
    index = _asset(".html", page.encode())
    pages = APIRouter(include_in_schema=False)

    @pages.head("/")
    @pages.get("/")
    async def home(request: Request) -> Response:
        request.app.state.reader.warm()  # while a person looks for a picture
        return _send(index, request)

    @pages.head("/web/{name:path}")
    @pages.get("/web/{name:path}")
    async def asset(request: Request, name: str) -> Response:
        if name not in assets:
            raise HTTPException(404)
        return _send(assets[name], request)

    app.include_router(pages)


def _asset(suffix: str, body: bytes) -> Asset:
    return Asset(body, _MEDIA_TYPES[suffix], f'"{sha256(body).hexdigest()[:32]}"')


def _send(asset: Asset, request: Request) -> Response:
    headers = {**HEADERS, "ETag": asset.etag}
    if asset.etag in request.headers.get("if-none-match", ""):  # also in a list, or weakened by a proxy
        return Response(status_code=304, headers=headers)
    return Response(asset.body, headers=headers, media_type=asset.media_type)
