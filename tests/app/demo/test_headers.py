"""The demo page and its files over HTTP."""

import re

import pytest

from app.demo.page import STATIC
from tests.app.conftest import Server
from tests.conftest import REPOSITORY

ASSETS = ("style.css", "script.js", "bicubic.js", "icon.svg", "samples/harbour.png")


def test_the_page_and_its_files_have_a_strict_content_security_policy(server: Server) -> None:
    for path in ("/", *(f"/web/{name}" for name in ASSETS)):
        headers = server.client.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' blob: data:",
            "connect-src": "'self'",
            "form-action": "'none'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "camera=()" in headers["permissions-policy"]


def test_a_file_that_the_browser_has_is_not_sent_again(server: Server) -> None:
    for path in ("/", "/web/script.js"):
        first = server.client.get(path)
        again = server.client.get(path, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
        assert server.client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
        head = server.client.head(path)
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])


@pytest.mark.parametrize("name", ["nothing.js", "../settings.py", "%2e%2e/settings.py", "index.html", ""])
def test_only_the_files_of_the_page_are_served(server: Server, name: str) -> None:
    response = server.client.get(f"/web/{name}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_the_samples_are_the_example_crops_named_by_their_text() -> None:
    words = dict(line.split("\t") for line in (REPOSITORY / "examples/crops/labels.tsv").read_text().splitlines())
    shown = re.findall(r'src="web/samples/(.+?)" alt="(.+?)"', (STATIC / "index.html").read_text())
    assert {name for name, _ in shown} == {file.name for file in (STATIC / "samples").iterdir()}
    for name, alt in shown:
        assert alt == words[name]
        assert (STATIC / "samples" / name).read_bytes() == (REPOSITORY / "examples/crops" / name).read_bytes()
