import pytest

from app.http.accept import negotiate


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
    assert negotiate([accept], one_picture=True).shape == one
    assert negotiate([accept], one_picture=False).shape == several
