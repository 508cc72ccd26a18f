"""The forms of PaddleHub Serving and of PaddleX, as PaddleOCR's users send and read them."""

import base64
import json
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from app.http.doors import hubserving, paddlex
from app.imaging.decode import decode
from tests.app.conftest import Server, assert_reconciled, picture, png
from tests.app.process import wait_until

HUB, PADDLEX = hubserving.PATH, paddlex.PATH
CROP = png()
BASE64 = base64.b64encode(CROP).decode()


def decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def test_paddleocrs_own_script_gets_one_entry_for_its_image(server: Server) -> None:
    """The request, and the reading of its answer, as in PaddleOCR's tools/test_hubserving.py."""
    headers = {"Content-type": "application/json"}
    data = {"images": [base64.b64encode(CROP).decode("utf8")]}
    answer = requests.post(url=server.url + HUB, headers=headers, data=json.dumps(data), timeout=20)
    assert (answer.json()["msg"], answer.json()["status"]) == ("", "000")
    (entry,) = answer.json()["results"]
    assert decoded(entry["data"]) == server.post(CROP).content


def test_a_client_of_paddlehubs_super_resolution_reads_the_picture_with_opencv(server: Server) -> None:
    """As in the READMEs of PaddleHub's falsr_a and dcscn."""
    data = {"images": [base64.b64encode(cv2.imencode(".png", picture()[..., ::-1])[1].tobytes()).decode()]}
    answer = requests.post(url=server.url + HUB, json=data, timeout=20)
    pixels = np.frombuffer(decoded(answer.json()["results"][0]["data"]), np.uint8)
    bgr = cv2.imdecode(pixels, cv2.IMREAD_COLOR)
    assert bgr is not None
    assert (bgr[..., ::-1] == picture(height=32, width=128)).all()


def test_a_failed_image_has_an_entry_without_data_and_spares_the_others(server: Server) -> None:
    small = base64.b64encode(png(height=1, width=1)).decode()
    answer = server.client.post(HUB, json={"images": [BASE64, "crop.png", small]})
    assert (answer.status_code, answer.json()["status"]) == (200, "000")
    good, misplaced, tiny = answer.json()["results"]
    assert decode(decoded(good["data"])).shape == (32, 128, 3)
    assert set(good) == {"data"}
    assert (misplaced["data"], tiny["data"]) == ("", "")
    assert "the name of a file" in misplaced["msg"]
    assert "1 x 1 pixels" in tiny["msg"]
    assert_reconciled(server)


def test_paddleocrs_own_script_goes_on_after_an_image_that_fails(server: Server) -> None:
    """It reads `results[0]` at any status, and would end at an empty list."""
    answer = requests.post(server.url + HUB, json={"images": [BASE64[:40]]}, timeout=20)
    assert (answer.status_code, answer.json()["status"]) == (400, "101")
    assert answer.json()["results"][0] == {"data": "", "msg": answer.json()["msg"]}
    wait_until(lambda: server.metric("telescope_requests_total", route=HUB, outcome="bad_input") >= 1)


@pytest.mark.parametrize(
    ("request_", "http_status", "status", "told"),
    [
        ({"json": {"images": ["<base64>"]}}, 400, "101", "not base64"),
        ({"json": {"images": [BASE64[:40]]}}, 400, "101", "is damaged"),
        ({"json": {"images": ["https://example.org/a.png"]}}, 400, "101", "addresses are not fetched"),
        ({"json": {"images": []}}, 400, "101", "'images' is empty"),
        ({"json": {"image": BASE64}}, 422, "101", "there is no field 'image', but 'images'"),
        ({"json": {"images": [BASE64], "use_gpu": True}}, 422, "101", "there is no field 'use_gpu'"),
        ({"json": {"paths": ["/etc/passwd"]}}, 422, "101", "there is no field 'paths'"),
        ({"json": {"images": [BASE64]}, "params": {"model": "other"}}, 404, "111", "served: tbsrn:1"),
        ({"json": {"images": [BASE64]}, "params": {"fromat": "png"}}, 422, "101", "fromat"),
        ({"data": {"images": BASE64}}, 415, "112", "send application/json"),
        ({"files": {"image": CROP}}, 415, "112", "send application/json"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "101", "is not JSON"),
    ],
)
def test_paddlehubs_clients_get_errors_in_their_form(
    server: Server, request_: dict[str, object], http_status: int, status: str, told: str
) -> None:
    answer = server.client.post(HUB, **request_)  # type: ignore[arg-type]
    assert answer.status_code == http_status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"msg", "results", "status"}
    assert answer.json()["status"] == status
    assert told in answer.json()["msg"]
    assert answer.json()["results"] in ("", [{"data": "", "msg": answer.json()["msg"]}])


def test_a_client_of_paddlex_reads_the_picture(server: Server) -> None:
    """The request, and the reading of its answer, as PaddleX documents them for /document-preprocessing."""
    payload: dict[str, Any] = {"file": base64.b64encode(CROP).decode("ascii"), "fileType": 1}
    response = requests.post(server.url + PADDLEX, json=payload, timeout=20)
    assert response.status_code == 200
    result = response.json()["result"]
    for entry in result["superResolutionResults"]:
        assert decoded(entry["outputImage"]) == server.post(CROP).content
        assert entry["prunedResult"] == {"method": "super_resolved", "reason": "uncalibrated"}
    assert len(result["superResolutionResults"]) == 1
    assert result["dataInfo"] == {"width": 64, "height": 16, "type": "image"}
    assert (response.json()["errorCode"], response.json()["errorMsg"]) == (0, "Success")
    assert response.json()["logId"] == response.headers["x-request-id"]


@pytest.mark.parametrize("more", [{}, {"visualize": False}, {"topk": 3, "fileType": None}])
def test_the_field_may_be_image_and_other_fields_are_ignored(server: Server, more: dict[str, object]) -> None:
    answer = server.client.post(f"{PADDLEX}?format=webp", json={"image": BASE64, **more})
    (entry,) = answer.json()["result"]["superResolutionResults"]
    assert decoded(entry["outputImage"]).startswith(b"RIFF")


@pytest.mark.parametrize(
    ("request_", "status", "told"),
    [
        ({"json": {"file": "https://example.org/a.png"}}, 422, "body.file: addresses are not fetched"),
        ({"json": {"image": "https://example.org/a.png"}}, 422, "body.image: addresses are not fetched"),
        ({"json": {"file": BASE64, "fileType": 0}}, 422, "PDF files are not taken"),
        ({"json": {"file": base64.b64encode(b"%PDF-1.7").decode()}}, 415, "PDF is not accepted"),
        ({"json": {"file": BASE64, "fileType": 2}}, 422, "body.fileType: Input should be 0 or 1"),
        ({"json": {}}, 422, "one of the fields 'file' and 'image'"),
        ({"json": {"file": BASE64, "image": BASE64}}, 422, "one of the fields 'file' and 'image'"),
        ({"json": {"file": "crop.png"}}, 400, "the name of a file"),
        ({"json": {"file": ""}}, 400, "empty"),
        ({"json": {"file": BASE64}, "params": {"model": "other"}}, 404, "served: tbsrn:1"),
        ({"files": {"file": CROP}}, 415, "send application/json"),
    ],
)
def test_clients_of_paddlex_get_errors_in_their_form(
    server: Server, request_: dict[str, object], status: int, told: str
) -> None:
    answer = server.client.post(PADDLEX, **request_)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["errorCode"]) == (status, status)
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"logId", "errorCode", "errorMsg"}
    assert told in answer.json()["errorMsg"]
    assert_reconciled(server)
