"""The service below a prefix of a larger site, such as https://example.org/tt/."""

import asyncio
import re
from urllib.parse import urljoin

import httpx
import pytest

from tests.app.conftest import Server

SITE = "https://example.org"
PUBLIC = f"{SITE}/tt/"  # a proxy sends the service only the path behind this
PAGES = ("", "docs", "redoc", "web/main.js")
ADDRESS = re.compile(r"""(?:\b(?:src|href|spec-url)=|\burl: |\bfetch\()["']([^"'#]+)["']""")


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-Prefix": "/tt"}], ids=["no header", "header"])
def test_every_address_in_the_pages_stays_below_the_prefix(server: Server, headers: dict[str, str]) -> None:
    for page in PAGES:
        public = PUBLIC if page.startswith("web/") else PUBLIC + page  # a script's fetch() starts from its page
        found = ADDRESS.findall(server.client.get(f"/{page}", headers=headers).text)
        assert found
        for address in found:
            absolute = urljoin(public, address)
            assert absolute.startswith(PUBLIC)
            assert server.client.get(absolute.removeprefix(PUBLIC[:-1])).status_code == 200


def test_the_described_server_is_the_folder_of_the_description(server: Server) -> None:
    for headers in ({}, {"X-Forwarded-Prefix": "/elsewhere"}):
        (described,) = server.client.get("/openapi.json", headers=headers).json()["servers"]
        assert urljoin(f"{PUBLIC}openapi.json", described["url"]) == PUBLIC
        assert urljoin(f"{SITE}/openapi.json", described["url"]) == f"{SITE}/"


def test_a_forwarded_prefix_is_never_written_into_a_page(server: Server) -> None:
    evil = {"X-Forwarded-Prefix": "/tt'</script><script>alert(1)//", "X-Forwarded-Host": "evil.example"}
    for path in ("/", "/docs", "/redoc", "/openapi.json"):
        text = server.client.get(path, headers=evil).text
        assert "alert(1)" not in text
        assert "evil.example" not in text


@pytest.mark.parametrize("prefix", ["/tt", ""], ids=["path with it", "path without it"])
def test_an_asgi_server_may_name_the_prefix_as_root_path(server: Server, prefix: str) -> None:
    async def ask() -> None:
        transport = httpx.ASGITransport(server.app, root_path="/tt")
        async with httpx.AsyncClient(transport=transport, base_url=SITE) as client:
            for path in (
                "/",
                "/docs",
                "/redoc",
                "/static-offline-docs/swagger-ui.css",
                "/web/main.js",
                "/livez",
                "/v1/models",
            ):
                assert (await client.get(prefix + path)).status_code == 200
            assert (await client.get(f"{prefix}/openapi.json")).json()["servers"] == [{"url": "."}]

    asyncio.run(ask())
