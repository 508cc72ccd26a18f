"""Regions of a page: every spelling of them, malformed ones, crops in order, results pasted in place."""

import base64
import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRegion, InvalidParameter, ServiceError, TooManyRegions
from app.imaging import regions, warp
from app.imaging.decode import Probed, decode
from app.imaging.encode import encode
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


BOX = [0, 0, 64, 16]


def located(region: Any) -> warp.Region:
    """Raises the region's own error."""
    (outline,) = regions.parse(json.dumps([region]), max_regions=1)
    if isinstance(outline, ServiceError):
        raise outline
    return regions.locate(outline, page=PAGE, units="pixels", min_side_px=4)


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
        [64, 32, 128, 32, 128, 48, 64, 48],
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
        ([[-30, -10], [10, -50], [15, -45], [-25, -5]], "outside the page"),
        ([[-60, 60], [40, -40], [30, -50], [-70, 50]], "outside the page"),  # its bounding box is not
        ([[0, 0], [1e9, 10], [1e9, 30], [0, 20]], "too far outside"),
        ([[0, 0], [1e300, 10], [-1e300, 30], [0, 20]], "too far outside"),
        ([[-190, 0], [200, -110], [390, 120], [0, 230]], "at most twice the page's pixels"),
        ([10, 10, 10, 30], "less than x_max"),
        ([90, 10, 10, 30], "less than x_max"),
        ([90, 60, 40, 20], "not a corner, a width and a height"),
        ([10, 10, 12, 30], "2 x 20 pixels"),
        ([[10, 10], [90, 30], [90, 10], [10, 30]], "sides cross"),
        ([[10, 10], [90, 30], [90, 30], [90, 10], [10, 30], [10, 10]], "sides cross"),
        ([[10, 20], [90, 60], [95, 40], [90, 20], [10, 60], [5, 40]], "crosses itself"),
        ([[10, 10], [10, 30], [10, 50]], "0 pixels"),
        ([[5, 5]] * 5, "0 x 0 pixels"),
        ([[10, 10], [60, 30]] * 3, "0 x 54 pixels"),
    ],
)
def test_a_region_that_holds_no_text_has_an_error(region: Any, says: str) -> None:
    with pytest.raises(BadRegion, match=says):
        located(region)


@pytest.mark.parametrize(
    ("region", "units", "says"),
    [
        ([0, 0, 120, 30], "relative", "is in pixels, but \\?units=relative takes shares"),
        ([[0.1, 0.1], [0.9, 0.2], [0.9, 0.4], [0.1, 0.3]], "pixels", "for shares .* add \\?units=relative"),
    ],
)
def test_a_region_in_the_other_units_is_told_so(region: Any, units: regions.Units, says: str) -> None:
    (outline,) = regions.parse(json.dumps([region]), max_regions=1)
    assert isinstance(outline, np.ndarray)
    with pytest.raises(BadRegion, match=says):
        regions.locate(outline, page=PAGE, units=units, min_side_px=4)


@pytest.mark.parametrize(
    ("region", "height", "width"),
    [
        ([-10, 100, 90, 140], 20, 90),
        ([[-10, 100], [1e300, 140]], 20, 200),
        ([[150, -1e9], [230, -1e9], [230, 30], [150, 30]], 30, 50),
    ],
)
def test_a_box_over_the_edge_is_cut_off(region: Any, height: int, width: int) -> None:
    region = located(region)
    assert region.is_box
    assert (region.height, region.width) == (height, width)


@pytest.mark.parametrize(
    "region",
    [
        None,
        "",
        "the whole page",
        {},
        {"box": [0, 0, 64, 16]},
        [],
        [[]],
        True,
        7,
        [1, 2, 3],
        [1, 2, 3, None],
        [0, 0, 64, 0, 64, 16, 0],
        [0, 0, 64, 0, 64, "16"],
        [1, 2, 3, "4"],
        [1, 2, 3, True],
        [0, 0, float("nan"), 9],
        [0, 0, float("inf"), 9],
        [[0, 0]],
        [[0, 0], [1, 1], [2, 2, 2]],
        [[[0, 0], [1, 1], [2, 2]]],
        [[0, 0], [64, 0], None, [0, 16]],
        [[0, 0], [64, 0], [64, float("-inf")], [0, 16]],
        [["a" * 1000, "b"]] * 1000,
    ],
)
def test_a_region_that_is_none_has_an_error_of_its_own(region: Any) -> None:
    first, error, last = regions.parse(json.dumps([BOX, region, BOX]), max_regions=3)
    assert isinstance(error, BadRegion)
    assert str(error).startswith(f"The region is {json.dumps(region)[:80]}; it must be three or more points")
    assert np.array_equal(first, last)  # type: ignore[arg-type]


def test_a_number_of_any_length_spoils_its_region_alone() -> None:
    for number in ("1e999", "1" * 400, "1" * 5000):
        first, error = regions.parse(f"[[0, 0, 64, 16], [{number}, 0, 10, 10]]", max_regions=2)
        assert isinstance(first, np.ndarray)
        assert isinstance(error, BadRegion)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from([0, 64, 16, 1e300]),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
)
polygons = st.lists(
    st.tuples(*[st.floats(-300, 500) | st.floats(allow_nan=False) | st.integers(0, 200)] * 2), min_size=2
)


@given(st.lists(json_values | polygons, max_size=5), st.sampled_from(["pixels", "relative"]))
def test_any_list_gives_a_region_or_an_error_for_each_entry(listed: list[Any], units: regions.Units) -> None:
    page = np.zeros((*PAGE, 3), np.uint8)
    outlines = regions.parse(json.dumps(listed), max_regions=5)
    assert len(outlines) == len(listed)
    for outline in outlines:
        try:
            if isinstance(outline, ServiceError):
                raise outline
            region = regions.locate(outline, page=PAGE, units=units, min_side_px=4)
        except BadRegion:
            continue
        assert region.height * region.width <= 2 * PAGE[0] * PAGE[1]
        assert warp.rectify(page, region).shape == (region.height, region.width, 3)


def test_a_bad_region_spares_its_neighbours(server: Server) -> None:
    bad = [None, [], "", [[1, 1]], [5, 5, 5, 5], [[10, 10], [90, 30], [90, 10], [10, 30]], float("nan")]
    response = post(server, striped_page(), [BOX, *bad, [64, 32, 128, 48]])
    images = response.json()["images"]
    assert [entry["outcome"] for entry in images] == ["ok", *["failed"] * len(bad), "ok"]
    assert {entry["problem"]["code"] for entry in images[1:-1]} == {"bad_region"}
    assert [entry["index"] for entry in images] == list(range(len(bad) + 2))
    recomposed = post(server, striped_page(), [BOX, *bad], "?recompose=true")
    assert decode(recomposed.content).shape == (256, 384, 3)
    assert_reconciled(server)


def test_a_polygon_of_many_points_is_done_like_a_box(server: Server) -> None:
    outline = [[64, 32], [90, 32], [128, 32], [128, 48], [90, 48], [64, 48], [64, 32]]
    box, polygon = pictures(post(server, striped_page(), [[64, 32, 128, 48], outline]))
    assert (box == polygon).all()


@pytest.mark.parametrize("listed", ["[]", " [ ] ", "null"])
def test_a_page_without_regions_is_an_empty_list_or_the_enlarged_page(server: Server, listed: str) -> None:
    page = striped_page()
    plain = resize(page, height=256, width=384)
    before = server.metric("telescope_images_received_total")
    assert post(server, page, listed).json()["images"] == []
    assert post(server, page, listed, Accept="image/png").json()["images"] == []
    archive = post(server, page, listed, Accept="application/zip").content
    assert zipfile.ZipFile(BytesIO(archive)).namelist() == ["results.json"]
    recomposed = post(server, page, listed, "?recompose=true")
    assert recomposed.headers["content-type"] == "image/png"
    assert (decode(recomposed.content) == plain).all()
    body = post(server, page, listed, "?recompose=true", Accept="application/json").json()
    assert body["images"] == []
    assert (decode(base64.b64decode(body["page"]["data"])) == plain).all()
    archive = post(server, page, listed, "?recompose=true", Accept="application/zip").content
    assert zipfile.ZipFile(BytesIO(archive)).namelist() == ["results.json", "page.png"]
    assert server.metric("telescope_images_received_total") == before
    assert server.app.state.capacity.decoded_bytes.used == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("no json", "not JSON"),
        (b"\x89PNG\r\n", "must be JSON; are it and the page exchanged"),
        ("[" * 100_000, "not JSON"),
        ("{}", "JSON list"),
        ("7", "JSON list"),
        ('"[]"', "JSON list"),
    ],
)
def test_regions_that_are_no_list_fail_the_request(text: str | bytes, says: str) -> None:
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


@pytest.mark.slow
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
        ([("image", b"x"), ("regions", b"[" * (1024 * 1024 + 1))], 413, "too_many_bytes"),
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
