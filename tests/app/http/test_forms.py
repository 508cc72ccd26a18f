"""The forms in which HTTP clients send a picture, and the answers to near misses."""

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.imaging.decode import decode
from app.imaging.encode import encode
from tests.app.conftest import Server, picture, png

CROPS, REGIONS = "/v1/super-resolve", "/v1/super-resolve/regions"
DISPOSITION = b'Content-Disposition: form-data; name="image"'
CROP = png()
BINARY = CROP + bytes(range(256)) * 8192  # 2 MiB with every byte, behind the picture's end


def form(*parts: bytes) -> dict[str, Any]:
    """A request of httpx with these parts, each its headers and its bytes."""
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    return {"content": body, "headers": {"content-type": "multipart/form-data; boundary=b"}}


def field(name: str, value: bytes) -> bytes:
    """As curl sends -F name=value."""
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value


@pytest.mark.parametrize(
    ("head", "filename"),
    [
        (DISPOSITION, None),
        (DISPOSITION + b"\r\nContent-Type: image/png", None),  # Dart; requests with (None, data, "image/png")
        (b"content-type: text/plain; charset=utf-8\r\ncontent-disposition: form-data; name=image", None),
        (DISPOSITION + b"\r\nContent-Type: application/json\r\nContent-Length: 7", None),
        (DISPOSITION + b'; filename=""\r\nContent-Type: application/octet-stream', None),
        (DISPOSITION + b"; filename*=UTF-8''gr%C3%B6%C3%9Fe.png", "größe.png"),  # RFC 5987
        (DISPOSITION + b"; filename*=\"utf-8'de'a%20b.png\"", "a b.png"),
        (DISPOSITION + b"; filename=\"plain.png\"; filename*=utf-8''other.png", "plain.png"),  # .NET sends both
        (b'Content-Disposition: form-data; filename="a;b\\".png"; name="image"', 'a;b".png'),
    ],
)
def test_a_part_named_image_is_the_picture_whatever_else_its_headers_say(
    server: Server, head: bytes, filename: str | None
) -> None:
    request = form(head + b"\r\n\r\n" + BINARY)
    request["headers"]["accept"] = "application/json"
    (image,) = server.client.post(CROPS, **request).json()["images"]
    assert (image["outcome"], image["filename"]) == ("ok", filename)
    assert decode(base64.b64decode(image["data"])).shape == (32, 128, 3)


@pytest.mark.parametrize("regions", [field("regions", b"[[0, 0, 40, 16]]"), None], ids=["field", "file"])
def test_a_page_may_come_without_a_file_name_and_its_regions_either_way(
    server: Server, regions: bytes | None
) -> None:
    file = b'Content-Disposition: form-data; name="regions"; filename="boxes.json"\r\n\r\n[[0, 0, 40, 16]]'
    response = server.client.post(REGIONS, **form(field("image", CROP), regions or file))
    assert response.json()["images"][0]["outcome"] == "ok"


@pytest.mark.parametrize(
    "content_type", [None, "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded"]
)
def test_a_bare_picture_needs_no_content_type_of_its_own(server: Server, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = server.client.post(CROPS, content=CROP, headers=headers)
    assert response.status_code == 200
    assert decode(response.content).shape == (32, 128, 3)
    cut = server.client.post(CROPS, content=CROP[:60], headers=headers)
    assert (cut.status_code, cut.json()["code"]) == (400, "undecodable_image")
    for body, told in (
        (b"", "the body holds nothing"),
        (b"image=crop.png", "the name of a file"),
        (b'{"image": "iVBO"}', "JSON"),
        (gzip.compress(CROP), "gzip data, which is not unpacked"),
        (CROP.replace(b"\r\n", b""), "curl -d does so"),
    ):
        refused = server.client.post(CROPS, content=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
        assert f"Content-Type is {content_type or 'missing'}, and the body holds" in refused.json()["detail"]
        assert told in refused.json()["detail"]


@pytest.mark.parametrize("preamble", [b"\r\n", b"This is a multi-part message.\r\n", b"-" * 100_000 + b"\r\n"])
def test_text_before_the_first_boundary_and_behind_the_last_one_is_left_out(
    server: Server, preamble: bytes
) -> None:
    request = form(field("image", CROP))
    request["content"] = preamble + request["content"] + b"The end.\r\n--b"
    assert decode(server.client.post(CROPS, **request).content).shape == (32, 128, 3)


BASE64 = base64.b64encode(CROP)
TEXTS = {
    "https://example.org/crop.png": "an address, and addresses are not fetched",
    "file:///home/me/crop.png": "addresses are not fetched",
    "crop.png": "an @ before it sends the file",
    "/home/größe/my crop.JPEG": "an @ before it sends the file",
    BASE64.decode(): "base64",
    f'"{BASE64.decode()}"': "base64",
    "data:image/png;base64," + BASE64.decode(): "a data: URL",
    json.dumps({"image": BASE64.decode()}): "JSON",
    "[object File]": "'[object File]'",
    "undefined": "text: 'undefined'",
}


@pytest.mark.parametrize("text", TEXTS, ids=[text[:12] for text in TEXTS])
def test_a_value_in_the_place_of_a_file_is_named_with_the_right_call(server: Server, text: str) -> None:
    typed = server.client.post(CROPS, **form(field("image", text.encode())))
    page = server.client.post(REGIONS, **form(field("image", text.encode()), field("regions", b"[[0, 0, 9, 9]]")))
    bare = server.client.post(CROPS, content=text.encode(), headers={"content-type": "image/png"})
    for response, source, call in (
        (typed, "The part 'image'", "-F image=@crop.png"),
        (page, "The part 'image'", "-F image=@page.png"),
        (bare, "The body", "--data-binary @crop.png -H 'Content-Type: image/png'"),
    ):
        assert (response.status_code, response.json()["code"]) == (400, "undecodable_image")
        detail = response.json()["detail"]
        assert detail.startswith(f"{source} holds ")
        assert TEXTS[text] in detail
        assert text[:9] in detail
        assert call in detail


@pytest.mark.parametrize(
    "spoilt",
    [
        CROP.decode(errors="replace").encode(),  # a string of JavaScript
        CROP.decode("latin-1").encode(),
        CROP.replace(b"\r\n", b"\n"),
        CROP.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b""),  # curl -d @crop.png
        encode(picture(), "jpeg").decode(errors="replace").encode(),
    ],
)
def test_a_picture_that_was_handled_as_text_is_told_so(server: Server, spoilt: bytes) -> None:
    for response in (
        server.post(spoilt),
        server.client.post(CROPS, content=spoilt, headers={"content-type": "image/png"}),
    ):
        assert (response.status_code, response.json()["code"]) == (400, "undecodable_image")
        assert "holds a picture that was changed as if it were text" in response.json()["detail"]


def test_a_value_among_pictures_fails_alone(server: Server) -> None:
    images = server.client.post(CROPS, **form(field("image", CROP), field("image", b"crop.png"))).json()["images"]
    assert images[0]["outcome"] == "ok"
    assert "-F image=@crop.png" in images[1]["problem"]["detail"]


def test_a_file_of_base64_is_told_apart_from_a_file_of_plain_text(server: Server) -> None:
    told = server.post(BASE64, b"hello, world").json()["images"]
    assert "holds a picture as base64 text" in told[0]["problem"]["detail"]
    assert told[1]["problem"]["detail"].startswith("These 12 bytes are not an image in PNG")


@pytest.mark.parametrize("name", ["file", "files", "images", "image[]", "Image", "picture"])
def test_a_part_of_another_name_is_told_the_right_one(server: Server, name: str) -> None:
    for sent in ({"files": {name: CROP}}, form(field(name, CROP))):
        response = server.client.post(CROPS, **sent)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
        assert (
            f"a part named '{name}'; send parts named 'image' (curl -F image=@crop.png)"
            in response.json()["detail"]
        )


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([field("image", CROP)], "has 'image'; send one part 'image', the page, and one part 'regions', the JSON"),
        ([field("image", CROP), field("regions", b"boxes.json")], "an @ before it sends the file): 'boxes.json'"),
        ([field("image", CROP), field("regions", b" \n")], "'regions' is empty; send [] for a page without text"),
        ([field("image", CROP), field("boxes", b"[]")], "part named 'boxes'"),
        ([field("image", CROP), field("regions", b"[]"), field("units", b"relative")], "into the address"),
    ],
)
def test_a_wrong_call_for_a_page_is_answered_with_the_right_one(
    server: Server, parts: list[bytes], told: str
) -> None:
    response = server.client.post(REGIONS, **form(*parts))
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert told in response.json()["detail"]
    assert "curl -F image=@page.png -F regions=@boxes.json" in response.json()["detail"]


@pytest.mark.parametrize(
    ("content_type", "status", "told"),
    [
        ("application/x-www-form-urlencoded", 415, "curl --data-binary @crop.png -H 'Content-Type: image/png'"),
        ("text/plain", 415, "curl -F image=@crop.png"),
        ("application/json", 400, "holds a multipart body"),
        ("multipart/form-data; boundary=other", 400, "no boundary 'other', which its Content-Type names"),
        ("multipart/form-data", 400, "names no boundary; leave that header to the HTTP library"),
        ("image/png", 400, "the HTTP library sets the Content-Type"),
    ],
)
def test_a_content_type_that_does_not_fit_the_body_is_answered_with_the_right_one(
    server: Server, content_type: str, status: int, told: str
) -> None:
    body = httpx.Request("POST", server.url, files={"image": CROP})
    response = server.client.post(CROPS, content=body.read(), headers={"content-type": content_type})
    assert response.status_code == status
    assert told in response.json()["detail"]


def test_a_picture_that_is_too_large_is_told_the_size_that_fits_and_the_address_for_pages(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(max_image_pixels=40_000, max_page_pixels=160_000)
    large = png(height=200, width=300)
    told = server.post(large).json()["detail"]
    assert "300 x 200 pixels, 60000 in all; at most 40000 are accepted, such as 244 x 163." in told
    assert "with the boxes of its text to /v1/super-resolve/regions, which takes 160000 pixels" in told
    assert server.post(png(height=163, width=244)).status_code == 200
    boxes = {"regions": b"[[0, 0, 40, 16]]"}
    assert server.client.post(REGIONS, files={"image": large, **boxes}).status_code == 200
    told = server.client.post(REGIONS, files={"image": png(height=401, width=400), **boxes}).json()["detail"]
    assert "at most 160000 are accepted, such as 399 x 400. Scale the page down with its regions" in told
