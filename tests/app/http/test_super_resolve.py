"""The contracts of the HTTP API, over a real socket."""

import base64
import json
import re
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.imaging import decode, encode
from model_store.pixels import Rgb
from tests.app.conftest import Server, assert_reconciled, picture, png
from tests.app.process import wait_until


def test_one_image_comes_back_as_a_png_of_twice_its_size(server: Server) -> None:
    response = server.post(png(height=20, width=50))
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert (decode.decode(response.content) == picture(height=40, width=100)).all()


def test_a_raw_body_is_one_image(server: Server) -> None:
    response = server.client.post("/v1/super-resolve", content=png(), headers={"content-type": "image/png"})
    assert decode.decode(response.content).shape == (32, 128, 3)


@pytest.mark.parametrize(("name", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8"), ("webp", b"RIFF")])
def test_the_format_is_the_one_asked_for(server: Server, name: str, magic: bytes) -> None:
    response = server.post(png(), query=f"?format={name}")
    assert response.headers["content-type"] == f"image/{name}"
    assert response.content.startswith(magic)


def test_an_accept_header_names_the_format_as_the_query_does(server: Server) -> None:
    response = server.post(png(), headers={"Accept": "image/webp"})
    assert (response.headers["content-type"], response.content[:4]) == ("image/webp", b"RIFF")
    assert response.content == server.post(png(), query="?format=webp").content


def test_telescope_geometry_answers_in_the_models_own_size(server: Server) -> None:
    response = server.post(png(height=40, width=40), query="?geometry=telescope")
    assert decode.decode(response.content).shape == (32, 128, 3)


def test_several_images_come_back_as_json_in_order_each_with_its_own_outcome(server: Server) -> None:
    colours = [(10, 20, 30), (40, 50, 60)]
    response = server.post(png(colours[0]), b"no picture", png(colours[1], height=8, width=9))
    body = response.json()
    assert response.status_code == 200
    assert [entry["outcome"] for entry in body["images"]] == ["ok", "failed", "ok"]
    assert [entry["index"] for entry in body["images"]] == [0, 1, 2]
    assert body["images"][1]["problem"]["code"] == "undecodable_image"
    assert body["images"][1]["problem"]["status"] == 400
    last = body["images"][2]
    assert last["input"] == {"width": 9, "height": 8}
    assert last["output"] == {"width": 18, "height": 16}
    assert (decode.decode(base64.b64decode(last["data"])) == picture(colours[1], height=16, width=18)).all()


def test_a_client_that_asks_for_json_gets_it_for_one_image_too(server: Server) -> None:
    body = server.post(png(), headers={"Accept": "application/json"}).json()
    assert body["model"]["name"] == "tbsrn"
    assert len(body["images"]) == 1


def test_a_zip_holds_the_pictures_and_what_became_of_each(server: Server) -> None:
    response = server.post(
        png(), b"no picture", png(), headers={"Accept": "application/zip"}, query="?format=webp"
    )
    archive = zipfile.ZipFile(BytesIO(response.content))
    assert archive.namelist() == ["results.json", "0.webp", "2.webp"]
    results = json.loads(archive.read("results.json"))
    assert [entry.get("data") for entry in results["images"]] == ["0.webp", None, "2.webp"]
    assert decode.decode(archive.read("2.webp")).shape == (32, 128, 3)


UPLOADED = {  # the name of an upload: the entry's
    "harbour.png": "harbour.png",
    "Harbour.jpg": "Harbour-2.png",  # the same file where letters' case does not count
    "a/harbour.png": "harbour-3.png",
    "harbour-2.png": "harbour-2-2.png",
    "C:\\scans\\großer Hafen 港.tif": "großer Hafen 港.png",
    "../../etc/cron.d/x.png": "x.png",
    "..": "006.png",
    "D:word?.png": "word_.png",
    "con.png": "_con.png",
    "results.json": "results.png",
    "\u202egnp.word": "_gnp.png",
    "x" * 400: "x" * 200 + ".png",
    "Preis 3.50": "Preis 3.50.png",
}


def test_the_entries_of_a_zip_have_the_names_of_the_uploads_made_safe(server: Server, tmp_path: Path) -> None:
    files = [("image", (name, png())) for name in UPLOADED]
    response = server.client.post("/v1/super-resolve", files=files, headers={"Accept": "application/zip"})
    archive = zipfile.ZipFile(BytesIO(response.content))
    assert archive.namelist() == ["results.json", *UPLOADED.values()]
    told = [image["data"] for image in json.loads(archive.read("results.json"))["images"]]
    assert told == list(UPLOADED.values())
    archive.extractall(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(archive.namelist())


def test_every_response_says_which_request_and_which_model(server: Server) -> None:
    for path, status in (("/livez", 200), ("/v1/models", 200), ("/nowhere", 404)):
        response = server.client.get(path, headers={"X-Request-ID": "my.request-1"})
        assert response.status_code == status
        assert response.headers["x-request-id"] == "my.request-1"
        assert response.headers["x-model-name"] == "tbsrn"
        assert response.headers["x-model-version"] == "1"
        assert len(response.headers["x-model-digest"]) == 64
        assert "total;dur=" in response.headers["server-timing"]


def test_a_request_id_that_could_forge_headers_or_logs_is_replaced(server: Server) -> None:
    response = server.client.get("/livez", headers={"X-Request-ID": 'evil", "level": "error'})
    assert response.headers["x-request-id"].isalnum()


def test_server_timing_names_the_phases(server: Server) -> None:
    timing = server.post(png()).headers["server-timing"]
    phases = dict(part.split(";dur=") for part in timing.split(", "))
    assert list(phases) == ["decode", "queue", "inference", "encode", "total"]
    assert float(phases["inference"]) > 0
    assert float(phases["total"]) >= float(phases["inference"])


def test_the_list_of_models_is_short_and_one_model_is_described_in_full(server: Server) -> None:
    def get(path: str) -> dict[str, Any]:
        return dict(server.client.get(f"/v1/models{path}").json())

    (short,) = get("")["models"]
    assert short["runtime"] == "fake"
    assert "training" not in short
    (full,) = get("?verbose=true")["models"]
    assert full == get("/tbsrn") == get("/tbsrn:1")
    assert full["input"] == {"width": 64, "height": 16}
    assert short.items() <= full.items()
    assert short == get("/tbsrn?verbose=false")
    for path in ("?verbos=true", "/tbsrn?verbos=true"):
        refused = get(path)
        assert (refused["code"], refused["status"]) == ("invalid_parameter", 422)
        assert "the nearest one is 'verbose'" in refused["detail"]


def test_sixty_four_clients_each_get_their_own_picture_in_shared_batches(
    start_server: Callable[..., Server],
) -> None:
    server = start_server()
    warm_up = len(server.runtime.batches)
    colours = [(4 * i, 255 - 4 * i, (37 * i) % 256) for i in range(64)]
    server.runtime.gate.clear()  # so that the queue builds while the first batch is held
    with ThreadPoolExecutor(64) as pool:
        asked = [pool.submit(server.post, png(colour)) for colour in colours]
        wait_until(lambda: server.metric("telescope_admitted_windows") == 64)
        server.runtime.gate.set()
        answers = [decode.decode(future.result().content) for future in asked]
    for colour, answer in zip(colours, answers, strict=True):
        assert (answer == picture(colour, height=32, width=128)).all()
    assert len(server.runtime.batches) - warm_up < 20  # 64 / 4, and the first ones that found an idle predictor
    assert server.metric("telescope_images_received_total") == 64
    assert_reconciled(server)


def test_a_client_that_leaves_takes_its_image_out_of_the_queue(start_server: Callable[..., Server]) -> None:
    server = start_server(batch_sizes=(1,))
    warm_up = len(server.runtime.batches)
    server.runtime.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.post, png())
        wait_until(lambda: server.metric("telescope_admitted_windows") == 1)
        with pytest.raises(httpx.ReadTimeout):
            server.post(png(), timeout=0.2)
        wait_until(lambda: server.metric("telescope_images_total", outcome="cancelled") == 1)
        server.runtime.gate.set()
        assert held.result().status_code == 200
    assert len(server.runtime.batches) == warm_up + 1
    wait_until(lambda: server.metric("telescope_requests_total", outcome="cancelled") == 1)
    assert_reconciled(server)


def test_a_full_queue_answers_429_with_a_time_to_come_back(start_server: Callable[..., Server]) -> None:
    server = start_server(max_queue_windows=2, max_images=2)
    server.runtime.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.post, png(), png())
        wait_until(lambda: server.metric("telescope_admitted_windows") == 2)
        refused = server.post(png())
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["code"] == "overloaded"
        server.runtime.gate.set()
        assert held.result().status_code == 200
    assert server.metric("telescope_requests_total", outcome="refused") == 1
    assert_reconciled(server)


def test_a_client_may_shorten_the_deadline_but_not_extend_it(start_server: Callable[..., Server]) -> None:
    server = start_server(request_timeout_ms=300)
    server.runtime.gate.clear()
    for header in ({"X-Request-Timeout-Ms": "100"}, {"X-Request-Timeout-Ms": "60000"}):
        late = server.post(png(), headers=header)
        assert late.status_code == 504
        assert late.json()["code"] == "deadline_exceeded"
    total_ms = float(late.headers["server-timing"].rsplit("=", 1)[1])
    assert 250 < total_ms < 10_000
    assert server.metric("telescope_images_total", outcome="expired") == 2


def test_a_predictor_that_fails_on_one_image_answers_the_others(server: Server) -> None:
    server.runtime.fail_on = 200 / 255
    try:
        body = server.post(png((1, 1, 1)), png((200, 200, 200)), png((2, 2, 2))).json()
    finally:
        server.runtime.fail_on = None
    assert [entry["outcome"] for entry in body["images"]] == ["ok", "failed", "ok"]
    assert body["images"][1]["problem"]["code"] == "inference_failed"
    assert server.metric("telescope_images_total", outcome="failed") == 1


def test_draining_turns_readiness_and_new_work_to_503_and_keeps_liveness(
    start_server: Callable[..., Server],
) -> None:
    server = start_server()
    assert server.client.get("/readyz").status_code == 200
    server.app.state.models.begin_drain()
    assert server.client.get("/readyz").status_code == 503
    assert server.post(png()).json()["code"] == "not_ready"
    assert server.client.get("/livez").status_code == 200
    assert server.metric("telescope_ready") == 0


def test_requests_that_are_abandoned_get_503_and_not_silence(start_server: Callable[..., Server]) -> None:
    server = start_server()
    server.runtime.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(server.post, png()) for _ in range(2)]
        wait_until(lambda: server.metric("telescope_admitted_windows") == 2)
        models = server.app.state.models
        models.default._loop.get_loop().call_soon_threadsafe(models.abandon)
        answers = [future.result() for future in asked]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "not_ready")] * 2
    assert server.client.get("/readyz").status_code == 503
    assert_reconciled(server)


def test_a_defect_on_one_image_spares_its_neighbours(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    original = encode.encode

    def broken(rgb: np.ndarray, image_format: encode.Format) -> bytes:
        if rgb.shape[0] == 24:
            raise ZeroDivisionError("a slip of the pen")
        return original(rgb, image_format)

    good, bad = png(), png(height=12)
    monkeypatch.setattr(encode, "encode", broken)
    body = server.post(good, bad).json()
    assert [entry["outcome"] for entry in body["images"]] == ["ok", "failed"]
    assert body["images"][1]["problem"]["code"] == "internal_error"
    assert server.post(bad).status_code == 500
    assert "pen" not in server.post(bad).text


def with_a_bomb(data: bytes) -> bytes:
    """The PNG with a text of a MiB, compressed to one KiB."""
    info = PngInfo()
    info.add_text("text", "0" * (2**20 - 100), zip=True)
    made = BytesIO()
    Image.open(BytesIO(data)).save(made, "PNG", pnginfo=info)
    return made.getvalue()


@pytest.mark.parametrize(
    ("body", "small"),
    [
        (png(height=16, width=128), True),
        (png(height=64, width=128), False),  # many pixels
        (png(height=4, width=1024), False),  # many windows
        (with_a_bomb(png()), False),
    ],
)
def test_only_what_is_done_at_once_is_decoded_on_the_event_loop(
    server: Server, monkeypatch: pytest.MonkeyPatch, body: bytes, small: bool
) -> None:
    threads: list[str] = []
    original = decode.Probed.decode

    def noted(self: decode.Probed) -> Rgb:
        threads.append(threading.current_thread().name)
        return original(self)

    monkeypatch.setattr(decode.Probed, "decode", noted)
    assert server.post(body).status_code == 200
    assert [name.startswith("codec") for name in threads] == [not small]


def test_the_deadline_holds_while_a_picture_is_decoded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    decoding = threading.Event()
    monkeypatch.setattr(decode.Probed, "decode", lambda self: decoding.wait(30) and picture())
    response = server.post(png(height=64, width=128), headers={"X-Request-Timeout-Ms": "100"})
    decoding.set()
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


def test_bodies_beyond_the_memory_for_them_are_refused_until_others_are_answered(
    start_server: Callable[..., Server],
) -> None:
    crop = png() + b"\0" * 1500  # a PNG may be followed by anything
    server = start_server(max_request_bytes=2048, max_upload_bytes=2500)
    server.runtime.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.post, crop)
        wait_until(lambda: server.metric("telescope_admitted_windows") == 1)
        refused = server.post(crop)
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        server.runtime.gate.set()
        assert held.result().status_code == 200
    assert server.metric("telescope_body_bytes") == 0
    assert server.post(crop).status_code == 200


def test_probes_may_be_asked_without_a_body(server: Server) -> None:
    for path in ("/livez", "/readyz"):
        response = server.client.head(path)
        assert (response.status_code, response.content) == (200, b"")


def test_several_accept_headers_are_one_list(server: Server) -> None:
    headers = [("Accept", "text/html"), ("Accept", "application/zip")]
    assert server.post(png(), headers=headers).headers["content-type"] == "application/zip"


def test_a_hanging_predictor_turns_readiness_and_later_liveness_to_503_and_back(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(hang_timeout_s=0.2, restart_after_s=0.3)

    def status(path: str) -> int:
        return server.client.get(path).status_code

    server.runtime.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.post, png())
        wait_until(lambda: status("/readyz") == 503)
        refused = server.post(png())
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        wait_until(lambda: status("/livez") == 503)
        server.runtime.gate.set()
        assert held.result().status_code == 200
    assert (status("/readyz"), status("/livez")) == (200, 200)
    assert server.post(png()).status_code == 200
    assert_reconciled(server)


def test_the_runtime_is_only_ever_touched_by_its_own_thread(start_server: Callable[..., Server]) -> None:
    server = start_server()
    server.post(png(), png())
    server.stop()
    assert server.runtime.threads - {"MainThread"} == {"predictor"}  # MainThread made the fake
    assert server.runtime.closed


def test_what_has_not_happened_yet_is_scraped_as_zero(start_server: Callable[..., Server]) -> None:
    text = start_server().client.get("/metrics").text
    for path in ("/v1/super-resolve", "/v1/super-resolve/regions"):
        assert f'telescope_requests_total{{outcome="refused",route="{path}"}} 0.0' in text


def test_metrics_are_scraped_as_prometheus_text(server: Server) -> None:
    text = server.client.get("/metrics").text
    for name in ("telescope_model_info", "telescope_queue_windows", "process_resident_memory_bytes"):
        assert name in text


def test_the_documentation_page_asks_no_other_host(server: Server) -> None:
    page = server.client.get("/docs").text
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    assert server.client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def test_openapi_shows_every_error_and_a_real_picture(server: Server) -> None:
    schema = server.client.get("/openapi.json").json()
    responses = schema["paths"]["/v1/super-resolve"]["post"]["responses"]
    assert set(responses) == {"200", "400", "401", "404", "408", "413", "415", "422", "429", "500", "503", "504"}
    example = responses["200"]["content"]["application/json"]["example"]["images"][0]["data"]
    assert decode.decode(base64.b64decode(example)).shape == (6, 12, 3)
    assert np.ptp(decode.decode(base64.b64decode(example))) > 0
    references = json.dumps(schema).split('"$ref": "#/components/schemas/')[1:]
    assert {reference.split('"')[0] for reference in references} <= set(schema["components"]["schemas"])
