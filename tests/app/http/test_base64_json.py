"""Pictures as base64 in JSON: the same results as from multipart, and the right call for each near miss."""

import base64
import binascii
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.http import base64_json
from app.imaging.decode import decode
from app.imaging.encode import encode
from tests.app.conftest import Server, assert_reconciled, picture, png

CROPS, REGIONS = "/v1/super-resolve", "/v1/super-resolve/regions"
CALL = "curl -H 'Content-Type: application/json'"
CROP = png()
BASE64 = base64.b64encode(CROP).decode()
NOISE = encode(np.random.default_rng(0).integers(0, 255, (600, 1000, 3), np.uint8), "png")  # 1.8 MB


def crops(*images: object) -> dict[str, object]:
    return {"images": images}


@pytest.mark.parametrize("query", ["", "?format=webp", "?geometry=telescope&mode=always"])
def test_one_image_gets_the_picture_that_multipart_gets(server: Server, query: str) -> None:
    answer = server.client.post(CROPS + query, json=crops({"data": BASE64}))
    expected = server.post(CROP, query=query)
    assert (answer.status_code, answer.content) == (200, expected.content)
    for name in ("content-type", "x-method", "x-reason", "x-model-name"):
        assert answer.headers[name] == expected.headers[name]


def test_several_images_come_back_in_order_with_their_names_and_each_with_its_own_outcome(server: Server) -> None:
    asked = crops({"data": BASE64, "filename": "größe.png"}, "crop.png", {"data": BASE64, "filename": None})
    answer = server.client.post(CROPS, json=asked).json()["images"]
    assert [image["outcome"] for image in answer] == ["ok", "failed", "ok"]
    assert [image["filename"] for image in answer] == ["größe.png", None, None]
    assert (decode(base64.b64decode(answer[2]["data"])) == picture(height=32, width=128)).all()
    assert (answer[1]["problem"]["status"], answer[1]["problem"]["code"]) == (400, "undecodable_image")
    assert_reconciled(server)


def test_accept_and_several_images_choose_the_form_as_for_multipart(server: Server) -> None:
    one = server.client.post(CROPS, json=crops(BASE64), headers={"Accept": "application/json"})
    assert one.json()["images"][0]["outcome"] == "ok"
    zipped = server.client.post(CROPS, json=crops(BASE64), headers={"Accept": "application/zip"})
    assert zipped.content.startswith(b"PK")


@pytest.mark.parametrize(
    "text",
    [
        BASE64,
        f"data:image/png;base64,{BASE64}",
        f" Data:image/png;base64,{BASE64}\n",
        base64.encodebytes(CROP).decode(),  # with line ends, as the command base64 writes it
        "\r\n".join(BASE64[start : start + 76] for start in range(0, len(BASE64), 76)),
        base64.urlsafe_b64encode(CROP).decode().rstrip("="),
    ],
)
def test_base64_is_taken_as_programs_write_it(server: Server, text: str) -> None:
    for image in (text, {"data": text}):
        answer = server.client.post(CROPS, json=crops(image))
        assert (answer.status_code, answer.content) == (200, server.post(CROP).content)


def test_a_long_picture_is_decoded_in_another_thread(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    original = binascii.a2b_base64

    def noted(text: bytes, *, strict_mode: bool = False) -> bytes:
        threads.append(threading.current_thread().name)
        return original(text, strict_mode=strict_mode)

    monkeypatch.setattr(base64_json, "a2b_base64", noted)
    large = crops({"data": base64.b64encode(NOISE).decode()})
    assert server.client.post(CROPS, json=large).content == server.post(NOISE).content
    assert len(threads) == 3  # slices of a MiB
    assert server._thread.name not in threads


def test_a_body_may_begin_with_a_byte_order_mark_and_name_its_charset(server: Server) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(crops(BASE64)).encode()
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert server.client.post(CROPS, content=body, headers=headers).status_code == 200


TEXTS = {
    "https://example.org/crop.png": "is an address, and addresses are not fetched",
    "crop.png": "is the name of a file: 'crop.png'",
    "/home/größe/crop.png": "is the name of a file",
    "<base64>": "is not base64 (Only base64 data is allowed): '<base64>'",
    BASE64[:-1] + "!": "is not base64",
    "data:image/png": "image is empty",
    "": "image is empty",
    "é": "is not base64 (string argument should contain only ASCII characters)",
    base64.b64encode(b"https://example.org").decode(): "The base64 holds an address",
    base64.b64encode(BASE64.encode()).decode(): "The base64 holds a picture as base64 text: 'iVBO",
    BASE64[:96]: "damaged or cut off",
    BASE64[:40] + " " + BASE64[41:]: "is not base64, since it holds spaces (a form makes spaces of '+')",
}


@pytest.mark.parametrize("text", TEXTS, ids=[text[:9] for text in TEXTS])
def test_text_that_is_no_picture_fails_alone_and_is_told_the_right_call(server: Server, text: str) -> None:
    bad, good = server.client.post(CROPS, json=crops({"data": text}, BASE64)).json()["images"]
    assert good["outcome"] == "ok"
    assert (bad["problem"]["status"], bad["problem"]["code"]) in {(400, "undecodable_image"), (400, "empty_body")}
    assert TEXTS[text] in bad["problem"]["detail"]
    assert CALL in bad["problem"]["detail"] or "holds" not in bad["problem"]["detail"]
    alone = server.client.post(CROPS, json=crops(text))
    assert (alone.status_code, alone.json()["detail"]) == (400, bad["problem"]["detail"])


BODIES: dict[bytes, tuple[int, str, str]] = {
    b"": (400, "empty_body", "is empty"),
    b'{"images": []}': (400, "empty_body", "'images' is empty"),
    b'{"images": ["': (400, "malformed_json", "EOF while parsing a string"),
    b"\xff\xfe{\x00}\x00": (400, "malformed_json", "is not JSON"),
    b'{"images": ["\xff"]}': (400, "malformed_json", "is not JSON"),
    b'{"images": ["\\ud800"]}': (400, "malformed_json", "is not JSON"),
    b'{"images": ' + b"[" * 50_000: (400, "malformed_json", "recursion limit exceeded"),
    b'{"images": 1' + b"0" * 5000 + b"}": (400, "malformed_json", "number out of range"),
    BASE64.encode(): (400, "malformed_json", "holds a picture as base64 text"),
    b"crop.png": (400, "malformed_json", "holds the name of a file"),
    CROP: (400, "malformed_json", "is not JSON"),
    b"null": (422, "invalid_parameter", "must be an object"),
    b"[]": (422, "invalid_parameter", "must be an object"),
    b"{}": (422, "invalid_parameter", "body.images: this field is missing"),
    b'{"image": "iVBO"}': (422, "invalid_parameter", "body: there is no field 'image', but 'images'"),
    b'{"images": ["iVBO"], "format": "jpeg"}': (422, "invalid_parameter", "body: there is no field 'format'"),
    b'{"images": {"data": "iVBO"}}': (422, "invalid_parameter", "body.images: Input should be a valid list"),
    b'{"images": "iVBO"}': (422, "invalid_parameter", "body.images: Input should be a valid list"),
    b'{"images": [NaN]}': (422, "invalid_parameter", "body.images.0: this must be a string of base64"),
    b'{"images": [["iVBO"]]}': (422, "invalid_parameter", "body.images.0: this must be a string of base64"),
    b'{"images": [{"data": 5}]}': (422, "invalid_parameter", "body.images.0.data: Input should be a valid string"),
    b'{"images": [{"dat": "iVBO"}]}': (
        422,
        "invalid_parameter",
        "body.images.0: there is no field 'dat', but",
    ),
    b'{"images": [{"data": "iVBO", "filename": 5}]}': (422, "invalid_parameter", "body.images.0.filename"),
    b'{"images": [' + b"[]," * 50_000 + b"[]]}": (422, "invalid_parameter", "more than 100000 values"),
}


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_body_of_another_form_is_refused_with_the_right_call(server: Server, body: bytes) -> None:
    status, code, told = BODIES[body]
    response = server.client.post(CROPS, content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert told in response.json()["detail"]
    assert CALL in response.json()["detail"]
    assert len(response.json()["detail"]) < 1000


def test_json_without_its_content_type_is_told_to_send_it(server: Server) -> None:
    body = json.dumps(crops(BASE64)).encode()
    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}):  # curl -d sends the second
        refused = server.client.post(CROPS, content=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
        assert CALL in refused.json()["detail"]


def test_a_page_may_come_as_json(server: Server) -> None:
    boxes: list[Any] = [[0, 0, 40, 16], [[4, 2], [40, 4], [39, 14], [3, 12]], "nonsense", [9, 9, 3, 3]]
    same_id = {"X-Request-ID": "1"}
    page = server.client.post(REGIONS, json={"image": {"data": BASE64}, "regions": boxes}, headers=same_id).json()
    form = {"image": CROP, "regions": json.dumps(boxes).encode()}
    assert page == server.client.post(REGIONS, files=form, headers=same_id).json()
    assert [image["outcome"] for image in page["images"]] == ["ok", "ok", "failed", "failed"]
    whole = server.client.post(f"{REGIONS}?recompose=true", json={"image": BASE64, "regions": None})
    assert decode(whole.content).shape == (32, 128, 3)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"image": "crop.png", "regions": []}, 400, "undecodable_image"),
        ({"image": BASE64}, 422, "invalid_parameter"),
        ({"images": [BASE64], "regions": []}, 422, "invalid_parameter"),
        ({"image": BASE64, "regions": [[0, 0, 9, 9]] * 1001}, 413, "too_many_regions"),
        ({"image": BASE64, "regions": "[[0, 0, 9, 9]]"}, 422, "invalid_parameter"),
    ],
)
def test_a_page_as_json_of_another_form_is_refused(server: Server, body: object, status: int, code: str) -> None:
    response = server.client.post(REGIONS, json=body)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_the_strings_of_a_body_count_against_the_memory_for_bodies(start_server: Callable[..., Server]) -> None:
    server = start_server(max_request_bytes=4096, max_upload_bytes=4096)
    body = json.dumps(crops({"data": BASE64, "filename": "x"})).encode()
    assert server.client.post(CROPS, content=body, headers={"content-type": "application/json"}).status_code == 200
    refused = server.client.post(CROPS, content=body + b" " * 2000, headers={"content-type": "application/json"})
    assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
    assert server.metric("telescope_body_bytes") == 0
