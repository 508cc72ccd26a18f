"""The demo page and its files over HTTP."""

import json

import pytest
from PIL import Image

from app.demo.page import STATIC
from examples import make_demo_samples
from tests.app.conftest import Server

ASSETS = ("style.css", "main.js", "bicubic.js", "icon.svg", "samples/sign.png", "samples/samples.json")


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
    for path in ("/", "/web/main.js"):
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


def test_the_samples_ship_with_their_rule_and_their_true_text() -> None:
    listed = json.loads((STATIC / "samples" / "samples.json").read_text())
    assert listed["rule"] == make_demo_samples.RULE
    assert {one["file"] for one in listed["samples"]} == {file.name for file in (STATIC / "samples").glob("*.png")}
    for kind, one in zip(make_demo_samples.KINDS, listed["samples"], strict=True):
        assert (one["file"], one["title"]) == (f"{kind.name}.png", kind.title)
        again = make_demo_samples.make_sample(kind, {}, seed=one["tried"] - 1)  # other fonts, the same words
        assert again.texts == [line["text"] for line in one["lines"]]
        with Image.open(STATIC / "samples" / one["file"]) as picture:
            assert picture.size == kind.size == (one["width"], one["height"])
