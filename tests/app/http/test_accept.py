import pytest
from starlette.requests import HTTPConnection

from app.http.accept import negotiate


def accepting(header: str) -> HTTPConnection:
    return HTTPConnection({"type": "http", "headers": [(b"accept", header.encode())]})


@pytest.mark.parametrize(
    ("accept", "one", "several"),
    [
        ("", "image", "json"),
        ("*/*", "image", "json"),
        ("image/*", "image", "json"),
        ("image/webp, image/png", "image", "json"),
        ("image/avif,image/webp,*/*;q=0.8", "image", "json"),  # a browser's picture request
        ("application/json", "json", "json"),
        ("application/json, text/plain, */*", "json", "json"),  # what a common JavaScript client sends
        ("application/*", "json", "json"),
        ("application/zip", "zip", "zip"),
        ("application/zip;q=0.5, application/json;q=0.4", "zip", "zip"),
        ("application/json;q=0.2, image/png", "image", "json"),
        ("APPLICATION/JSON", "json", "json"),
        ("application/json;q=0, */*", "image", "zip"),
        ("text/html", "image", "json"),
        ("application/json;q=banana", "json", "json"),
    ],
)
def test_the_client_gets_what_it_would_rather_have(accept: str, one: str, several: str) -> None:
    assert negotiate(accepting(accept), one_picture=True).shape == one
    assert negotiate(accepting(accept), one_picture=False).shape == several


@pytest.mark.parametrize(
    ("accept", "image_format"),
    [
        ("", "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/webp", "webp"),
        ("IMAGE/JPEG", "jpeg"),
        ("image/webp, application/json", "webp"),
        ("image/webp, image/png", "png"),
        ("image/webp;q=0.5, */*", "png"),
        ("image/jpeg, image/webp", "webp"),
        ("application/json", "png"),
    ],
)
def test_the_picture_has_the_format_that_accept_names(accept: str, image_format: str) -> None:
    assert negotiate(accepting(accept), one_picture=True).image_format == image_format


def test_a_format_in_the_query_beats_the_header() -> None:
    assert negotiate(accepting("image/webp"), one_picture=True, image_format="jpeg").image_format == "jpeg"
