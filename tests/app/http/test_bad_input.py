"""What bad input gets: a problem with its status and stable code, never a 500."""

import gc
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from python_multipart.multipart import MultipartParser
from starlette.formparsers import MultiPartParser

from app import errors
from app.http import multipart as uploads
from app.http.problems import HttpError
from app.imaging import decode
from tests.app.conftest import Server, assert_reconciled, picture, png


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def hollow_png(width: int, height: int) -> bytes:
    """A valid header in front of next to no data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def saved(image_format: str, **options: Any) -> bytes:
    stream = BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (32, 96, 3), np.uint8)
    Image.fromarray(noise).save(stream, image_format, **options)
    return stream.getvalue()


def animation() -> bytes:
    stream = BytesIO()
    frames = [Image.fromarray(picture((i, i, i))) for i in (10, 200)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return stream.getvalue()


IMAGES = {
    "empty": (b"", 400, "empty_body"),
    "text named .png": (b"hello, world", 400, "undecodable_image"),
    "truncated PNG": (saved("PNG")[:-600], 400, "undecodable_image"),
    "truncated JPEG": (saved("JPEG")[:-600], 400, "undecodable_image"),
    "header of a PNG only": (saved("PNG")[:40], 400, "undecodable_image"),
    "one pixel": (png(height=1, width=1), 422, "image_too_small"),
    "40,000 x 40,000 in a few bytes": (hollow_png(40_000, 40_000), 413, "too_many_pixels"),
    "PDF": (b"%PDF-1.7 ...", 415, "unsupported_format"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_format"),
    "animation": (animation(), 415, "unsupported_format"),
}


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("raw", [False, True], ids=["multipart", "raw"])
def test_a_bad_image_gets_its_own_status_and_code(server: Server, case: str, raw: bool) -> None:
    data, status, code = IMAGES[case]
    if raw:
        response = server.client.post("/v1/super-resolve", content=data, headers={"content-type": "image/png"})
    else:
        response = server.post(data)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert_reconciled(server)


def test_sixty_five_images_are_one_too_many(server: Server) -> None:
    assert server.post(*[png()] * 64).status_code == 200
    response = server.post(*[png()] * 65)
    assert (response.status_code, response.json()["code"]) == (413, "too_many_images")
    assert "At most 64" in response.json()["detail"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("?format=gif", "The query parameter 'format' is 'gif'; it must be 'png', 'jpeg' or 'webp'."),
        ("?geometry=round", "geometry"),
        ("?fromat=png", "There is no query parameter 'fromat'; the nearest one is 'format'."),
        ("?recognizer=any", "the nearest one is 'recogniser'"),
        ("?zoom=4", "This address takes format, mode, recogniser, model, geometry."),
    ],
)
def test_a_wrong_parameter_is_named(server: Server, query: str, named: str) -> None:
    response = server.post(png(), query=query)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert named in response.json()["detail"]


@pytest.mark.parametrize("value", ["0", "-5", "soon", "1e3", "²", "9" * 5000])
def test_a_timeout_that_is_no_positive_number_is_refused(server: Server, value: str) -> None:
    response = server.post(png(), headers={"X-Request-Timeout-Ms": value.encode()})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")


@pytest.mark.parametrize("model", ["other", "tbsrn:2", "../../etc/passwd"])
def test_a_model_that_is_not_served_is_404(server: Server, model: str) -> None:
    response = server.client.post("/v1/super-resolve", params={"model": model}, files={"image": png()})
    assert (response.status_code, response.json()["code"]) == (404, "unknown_model")
    assert "tbsrn:1" in response.json()["detail"]


def test_a_missing_model_page_is_404(server: Server) -> None:
    assert server.client.get("/v1/models/other").json()["code"] == "unknown_model"


def test_a_field_of_another_name_is_named(server: Server) -> None:
    response = server.client.post("/v1/super-resolve", files={"picture": png()})
    assert response.status_code == 422
    assert "'picture'" in response.json()["detail"]


def test_parameters_in_the_body_are_pointed_to_the_address(server: Server) -> None:
    response = server.client.post("/v1/super-resolve", files={"image": png()}, data={"format": "jpeg"})
    assert response.status_code == 422
    assert "?format=jpeg" in response.json()["detail"]


# A whole picture, in a body that may have lost the next one.
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="\\xff..png"\r\n\r\n' + png()


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("text/plain", b"x", 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", b"x", 415, "unsupported_media_type"),
        ("multipart/form-data", b"x", 400, "malformed_multipart"),
        ("multipart/form-data; boundary=b", b"garbage", 400, "malformed_multipart"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 400, "empty_body"),
        ("multipart/form-data; boundary=b", PART, 400, "malformed_multipart"),
        ("multipart/form-data; boundary=" + 300 * "b", b"x", 400, "malformed_multipart"),
        ("multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\nz\r\n--b--", 400, "malformed_multipart"),
        ("multipart/form-data; boundary=b", b"--b\r\nX: y\rz", 400, "malformed_multipart"),
        ("image/png", b"", 400, "empty_body"),
    ],
)
def test_a_body_that_holds_no_image(
    server: Server, content_type: str, body: bytes, status: int, code: str
) -> None:
    response = server.client.post("/v1/super-resolve", content=body, headers={"content-type": content_type})
    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("charset", ["", "; charset=undefined", "; charset=unicode_escape"])
@pytest.mark.parametrize(
    ("sent", "told"), [("größe".encode(), "größe"), (b"gr\xf6\xdfe", "größe"), (b"\\ud800", "\\ud800")]
)
def test_a_file_name_is_utf_8_or_latin_1_whatever_the_body_says_of_itself(
    server: Server, charset: str, sent: bytes, told: str
) -> None:
    headers = {"content-type": f"multipart/form-data; boundary=b{charset}", "accept": "application/json"}
    body = PART.replace(b"\\xff.", sent) + b"\r\n--b--\r\n"
    response = server.client.post("/v1/super-resolve", content=body, headers=headers)
    assert response.json()["images"][0]["filename"] == f"{told}.png"


def test_an_answer_that_its_format_cannot_hold_is_refused_before_any_work(server: Server) -> None:
    line = png(height=40, width=8200)
    response = server.post(line, query="?format=webp")
    assert (response.status_code, response.json()["code"]) == (413, "result_too_large")
    assert server.post(line).status_code == 200
    assert server.post(line, query="?format=webp&geometry=telescope").status_code == 200


def test_a_body_over_the_limit_is_refused_by_its_declared_length(start_server: Callable[..., Server]) -> None:
    server = start_server(max_request_bytes=2048)
    response = server.post(b"x" * 4096)
    assert (response.status_code, response.json()["code"]) == (413, "too_many_bytes")


def test_a_body_over_the_limit_is_refused_while_it_streams(start_server: Callable[..., Server]) -> None:
    server = start_server(max_request_bytes=2048)

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 1024

    response = server.client.post("/v1/super-resolve", content=endless(), headers={"content-type": "image/png"})
    assert (response.status_code, response.json()["code"]) == (413, "too_many_bytes")


def test_a_request_that_would_never_fit_the_memory_is_refused(start_server: Callable[..., Server]) -> None:
    server = start_server(max_queue_bytes=2**20)
    response = server.post(png(height=1000, width=1000))
    assert (response.status_code, response.json()["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/super-resolve", "The nearest address is: POST /v1/super-resolve."),
        ("/v1/superresolve", "The nearest address is: POST /v1/super-resolve."),
        ("/V1/Super_Resolve", "The nearest address is: POST /v1/super-resolve."),
        ("/v1/super-resolve/", "Leave out the slash at the end: POST /v1/super-resolve."),
        ("/v1/models/", "Leave out the slash at the end: GET /v1/models."),
        ("/v1/model", "The nearest address is: GET /v1/models."),
        ("/doc", "The nearest address is: GET /docs."),
        ("/%2F", "Pictures go to POST /v1/super-resolve: curl -F image=@crop.png"),
        ("/v1/model/tbsrn", "The nearest address is: GET /v1/models/{name}."),
        ("/health", "Health is GET /readyz"),
        ("/upscale", "Pictures go to POST /v1/super-resolve: curl -F image=@crop.png"),
        ("/" + "x" * 20_000, "Pictures go to"),
    ],
)
def test_an_unknown_address_is_answered_with_the_nearest_one(server: Server, path: str, told: str) -> None:
    response = server.client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert told in response.json()["detail"]
    assert len(response.content) < 1000


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v2/model", "The nearest address is: GET /v2/models/{name}."),
        ("/v2/models/tbsrn/", "Leave out the slash at the end: GET /v2/models/{name}."),
        ("/v2/models/tbsrn/inference", "The nearest address is: POST /v2/models/{name}/infer."),
        ("/v2/model/tbsrn/versions/1/infer", "is: POST /v2/models/{name}/versions/{version}/infer."),
        ("/v2/ready", "The nearest address is: GET /v2/health/ready."),
        ("/predict", "The nearest address is: POST /predict/sr_system."),
        ("/predict/ocr_rec", "The nearest address is: POST /predict/sr_system."),
    ],
)
def test_the_nearest_address_is_one_of_the_same_protocol_and_told_in_its_form(
    server: Server, path: str, told: str
) -> None:
    response = server.client.get(path)
    body = response.json()
    assert response.status_code == 404
    assert told in (body["error"] if path.startswith("/v2") else body["msg"])


def test_a_wrong_method_is_answered_with_the_right_call(server: Server) -> None:
    response = server.client.get("/v1/super-resolve")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    assert "it takes POST, for example curl -F image=@crop.png" in response.json()["detail"]
    assert "it takes GET" in server.client.post("/v1/models").json()["detail"]


def test_every_error_that_can_reach_a_client_has_a_status() -> None:
    def tree(kind: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
        yield kind
        for below in kind.__subclasses__():
            yield from tree(below)

    abstract = {errors.ServiceError, errors.BadInput, *tree(errors.StartupError)}
    sent = set(errors.sent_errors())
    assert set(tree(errors.ServiceError)) - abstract == sent
    assert len({kind.code for kind in sent}) == len(sent)
    assert all(kind.status >= 400 and kind.title for kind in sent - {HttpError})


def test_limits_are_checked_before_any_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(errors.TooManyPixels, match="40000 x 40000"):
        decode.probe(hollow_png(40_000, 40_000), max_pixels=4_000_000, min_side_px=4)


def test_a_body_is_let_go_without_the_garbage_collector(server: Server) -> None:
    gc.collect()
    gc.disable()
    try:
        assert server.client.post("/v1/super-resolve", files={"image": png()}).status_code == 200
        assert not [
            it
            for it in gc.get_objects()
            if type(it) in (MultiPartParser, uploads._InMemoryParser, MultipartParser)
        ]
    finally:
        gc.enable()
