"""Regions of a page: every spelling of them, crops in order, results pasted in place."""

import base64
import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest

from app.errors import BadRegion, InvalidParameter, TooManyRegions
from app.imaging import regions
from app.imaging.decode import Probed, decode
from app.imaging.encode import encode
from app.imaging.regions import Region
from model_store.pixels import Rgb, resize
from tests.app.conftest import Server, assert_reconciled
from tests.app.imaging.test_quality_gate import HELPS_BLURRED, written

PAGE = (120, 200)


def striped_page() -> Rgb:
    """Every 16 x 64 cell of its own colour."""
    rows, columns = np.mgrid[0:128, 0:192]
    return np.stack([20 + rows // 16 * 25, 20 + columns // 64 * 70, np.full_like(rows, 90)], axis=2).astype(
        np.uint8
    )


def post(server: Server, page: Rgb, listed: Any, query: str = "", **headers: str) -> httpx.Response:
    return server.client.post(
        f"/v1/super-resolve/regions{query}",
        files={"image": ("page.png", encode(page, "png"))},
        data={"regions": listed if isinstance(listed, str) else json.dumps(listed)},
        headers=headers,
    )


def pictures(response: httpx.Response) -> list[Rgb]:
    assert response.status_code == 200, response.text
    return [decode(base64.b64decode(entry["data"])) for entry in response.json()["images"]]


def test_boxes_come_back_in_order_each_with_its_own_pixels(server: Server) -> None:
    page = striped_page()
    boxes = [[0, 0, 64, 16], [128, 112, 192, 128], [64, 32, 128, 48]]
    for (left, top, right, bottom), answer in zip(boxes, pictures(post(server, page, boxes)), strict=True):
        assert (answer == page[top:bottom, left:right].repeat(2, axis=0).repeat(2, axis=1)).all()
    assert_reconciled(server)


def test_every_spelling_of_one_region_gives_the_same_crop(server: Server) -> None:
    spellings = [
        [[64, 32], [128, 32], [128, 48], [64, 48]],
        [64, 32, 128, 48],
        [[64, 32], [128, 48]],
        [64.0, 32.0, 128.0, 48.0],
    ]
    first, *others = pictures(post(server, striped_page(), spellings))
    assert all((other == first).all() for other in others)
    relative = [[x / 192, y / 128] for x, y in ([64, 32], [128, 32], [128, 48], [64, 48])]
    (from_relative,) = pictures(post(server, striped_page(), [relative], "?units=relative"))
    assert (from_relative == first).all()


def test_regions_may_come_as_a_file(server: Server) -> None:
    response = server.client.post(
        "/v1/super-resolve/regions",
        files={"image": encode(striped_page(), "png"), "regions": b"[[0, 0, 64, 16]]"},
    )
    assert len(pictures(response)) == 1


def test_a_tilted_region_is_rectified() -> None:
    rows, columns = np.mgrid[0:200, 0:300].astype(np.float32)
    page = np.repeat((100 + 60 * np.sin(columns / 9) * np.cos(rows / 7))[..., None], 3, axis=2).astype(np.uint8)
    centre, angle = np.array([150.0, 100.0]), np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = np.array([[-50, -15], [50, -15], [50, 15], [-50, 15]])
    region = regions.locate(half @ turn.T + centre, page=(200, 300), units="pixels", min_side_px=4)
    assert (region.height, region.width) == (30, 100)
    crop = regions.rectify(page, region)
    u, v = np.meshgrid(np.arange(100) + 0.5 - 50, np.arange(30) + 0.5 - 15)
    x, y = (turn @ np.stack([u.ravel(), v.ravel()]) + centre[:, None] - 0.5).reshape(2, 30, 100)
    expected = 100 + 60 * np.sin(x / 9) * np.cos(y / 7)
    assert np.abs(crop[..., 0] - expected)[1:-1, 1:-1].max() < 3


def test_recomposing_puts_the_results_into_their_regions_and_enlarges_the_rest(server: Server) -> None:
    page = striped_page()
    response = post(server, page, [[64, 32, 128, 48]], "?recompose=true")
    assert response.headers["content-type"] == "image/png"
    answer = decode(response.content)
    plain = resize(page, height=256, width=384)
    inner = (slice(64 + 6, 96 - 6), slice(128 + 6, 256 - 6))
    assert (answer[inner] == page[32, 64]).all()
    outside = np.ones(plain.shape[:2], bool)
    outside[64:96, 128:256] = False
    assert (answer[outside] == plain[outside]).all()


def test_a_tilted_result_is_pasted_into_its_region() -> None:
    page = np.full((200, 300, 3), 100, np.uint8)
    corners = np.array([[60.0, 40.0], [150.0, 60.0], [146.0, 80.0], [56.0, 60.0]])
    region = regions.locate(corners, page=(200, 300), units="pixels", min_side_px=4)
    enlarged = resize(page, height=400, width=600).copy()
    regions.paste(enlarged, [(region, np.full((2 * region.height, 2 * region.width, 3), 250, np.uint8))], scale=2)
    y, x = np.nonzero(enlarged[..., 0] > 200)
    assert np.mean([x, y], axis=1) == pytest.approx(2 * corners.mean(axis=0), abs=1)
    assert (enlarged[:70] == 100).all()


def test_recomposing_with_json_lists_the_outcome_of_each_region_beside_the_page(server: Server) -> None:
    listed = [[0, 0, 64, 16], [500, 500, 600, 520]]
    body = post(server, striped_page(), listed, "?recompose=true", Accept="application/json").json()
    assert [entry["outcome"] for entry in body["images"]] == ["ok", "failed"]
    assert body["images"][0]["data"] is None
    assert decode(base64.b64decode(body["page"]["data"])).shape == (256, 384, 3)
    response = post(server, striped_page(), listed, "?recompose=true&format=jpeg", Accept="application/zip")
    assert zipfile.ZipFile(BytesIO(response.content)).namelist() == ["results.json", "page.jpeg"]


def test_a_zip_names_the_crops_by_their_regions(server: Server) -> None:
    listed = [[0, 0, 64, 16], [500, 500, 600, 520], [64, 32, 128, 48]]
    response = post(server, striped_page(), listed, Accept="application/zip")
    assert zipfile.ZipFile(BytesIO(response.content)).namelist() == ["results.json", "000.png", "002.png"]


@pytest.mark.parametrize(
    ("region", "says"),
    [
        ([500, 500, 600, 520], "outside the page of 200 x 120"),
        ([-90, 10, -5, 30], "outside the page"),
        ([10, 10, 10, 30], "around an area"),
        ([90, 10, 10, 30], "clockwise"),
        ([[10, 10], [10, 30], [90, 30], [90, 10]], "clockwise"),
        ([[10, 10], [90, 30], [90, 10], [10, 30]], "clockwise"),
        ([[10, 10], [90, 10], [30, 15], [10, 60]], "clockwise"),
        ([10, 10, 12, 30], "2 x 20 pixels"),
    ],
)
def test_a_region_that_holds_no_text_has_an_error(region: Any, says: str) -> None:
    (corners,) = regions.parse(json.dumps([region]), max_regions=10)
    with pytest.raises(BadRegion, match=says):
        regions.locate(corners, page=PAGE, units="pixels", min_side_px=4)


def test_a_bad_region_spares_its_neighbours(server: Server) -> None:
    body = post(server, striped_page(), [[0, 0, 64, 16], [5, 5, 5, 5], [64, 32, 128, 48]]).json()
    assert [entry["outcome"] for entry in body["images"]] == ["ok", "failed", "ok"]
    assert body["images"][1]["problem"]["code"] == "bad_region"


def test_a_region_over_the_edge_is_clipped() -> None:
    (corners,) = regions.parse("[[-10, 100, 90, 140]]", max_regions=1)
    region = regions.locate(corners, page=PAGE, units="pixels", min_side_px=4)
    assert isinstance(region, Region)
    assert (region.height, region.width) == (20, 90)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no json", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "JSON list"),
        ("[]", "one or more"),
        ("[[1, 2, 3]]", "Region 0 is"),
        ('[[0, 0, 9, 9], [1, 2, 3, "far"]]', "Region 1 is"),
        ("[[0, 0, NaN, 9]]", "Region 0 is"),
        ("[[0, 0, 1e999, 9]]", "Region 0 is"),
        (f"[[1{'0' * 400}, 0, 10, 10]]", "Region 0 is"),
        ("[[[0, 0], [1, 1], [2, 2]]]", "Region 0 is"),
        ("[null]", "Region 0 is null"),
    ],
)
def test_malformed_regions_are_named(text: str, says: str) -> None:
    with pytest.raises(InvalidParameter, match=says):
        regions.parse(text, max_regions=10)


def test_ten_thousand_boxes_are_refused_before_the_page_is_decoded(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TooManyRegions, match="10000 regions; at most 1000"):
        regions.parse(json.dumps([[0, 0, 64, 16]] * 10_000), max_regions=1000)
    page = striped_page()
    monkeypatch.setattr(Probed, "decode", lambda self: pytest.fail("decoded"))
    response = post(server, page, [[0, 0, 64, 16]] * 10_000)
    assert (response.status_code, response.json()["code"]) == (413, "too_many_regions")


@pytest.mark.parametrize("field", ["image", "regions"])
def test_both_parts_are_needed(server: Server, field: str) -> None:
    parts = {"image": encode(striped_page(), "png"), "regions": b"[[0, 0, 64, 16]]"}
    del parts[field]
    response = server.client.post("/v1/super-resolve/regions", files=parts)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert f"one part '{field}'" in response.json()["detail"]


def test_a_late_region_fails_alone_and_a_late_page_fails_the_request(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(gate=HELPS_BLURRED, request_timeout_ms=300)
    page, soft = striped_page(), written(sigma=3, height=40)
    page[:40, : soft.shape[1]], page[40:80] = soft, 200
    listed = [[0, 0, soft.shape[1], 40], [0, 40, 64, 80]]  # the second is blank, and needs no network
    server.runtime.gate.clear()
    body = post(server, page, listed).json()
    assert [entry["outcome"] for entry in body["images"]] == ["failed", "ok"]
    assert body["images"][0]["problem"]["code"] == "deadline_exceeded"
    response = post(server, page, listed, "?recompose=true")
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert_reconciled(server)


def test_a_damaged_page_fails_the_request(server: Server) -> None:
    data = encode(np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8), "png")[:-900]
    response = server.client.post(
        "/v1/super-resolve/regions", files={"image": data, "regions": b"[[0, 0, 40, 16]]"}
    )
    assert (response.status_code, response.json()["code"]) == (400, "undecodable_image")
    assert_reconciled(server)


def test_a_page_may_be_larger_than_a_crop_but_has_its_own_limit(start_server: Callable[..., Server]) -> None:
    server = start_server(max_image_pixels=10_000, max_page_pixels=30_000)
    assert post(server, striped_page(), [[0, 0, 64, 16]]).status_code == 200
    response = post(server, np.zeros((200, 200, 3), np.uint8), [[0, 0, 64, 16]])
    assert (response.status_code, response.json()["code"]) == (413, "too_many_pixels")


def test_a_page_of_twelve_megapixels_with_three_hundred_boxes_is_one_request(server: Server) -> None:
    page = np.random.default_rng(0).integers(112, 144, (3000, 4000, 1), np.uint8).repeat(3, axis=2)
    boxes = [[x, y, x + 150, y + 20] for y in range(0, 3000, 100) for x in range(0, 4000, 400)]
    assert len(boxes) == 300
    response = post(server, page, boxes, "?format=jpeg&recompose=true")
    assert decode(response.content).shape == (6000, 8000, 3)
    assert len(pictures(post(server, page, boxes))) == 300


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ([("regions", b"[]")] * 3, 413, "too_many_images"),
        ([("regions", b" " * (1024 * 1024 + 1))], 413, "too_many_bytes"),
        ([("regions", b"[]")] * 2, 422, "invalid_parameter"),
    ],
)
def test_the_part_with_regions_is_bounded(
    server: Server, fields: list[tuple[str, bytes]], status: int, code: str
) -> None:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + data for name, data in fields
    ]
    response = server.client.post(
        "/v1/super-resolve/regions",
        content=b"\r\n".join([*parts, b"--b--\r\n"]),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert (response.status_code, response.json()["code"]) == (status, code)
