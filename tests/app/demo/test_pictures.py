"""Pictures on the demo page: their sources, the comparison, the figures beside it, and the errors."""

import json
import re
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.imaging.decode import ACCEPTED, decode
from model_store.pixels import Rgb
from tests.app.conftest import Server, picture, png, wait_until
from tests.app.demo.conftest import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import Route


def noise(*, height: int = 20, width: int = 52, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def saved(pixels: np.ndarray, image_format: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


def assert_bicubic(shown: Rgb, original: Image.Image) -> None:
    """Equal to Pillow's enlargement except for rounding."""
    twice = np.asarray(original.resize((2 * original.width, 2 * original.height), Image.Resampling.BICUBIC))
    difference = np.abs(shown.astype(int) - twice)
    assert difference.max() <= 2
    assert difference.mean() < 0.2  # a browser blends transparency to the nearest level


def test_an_uploaded_file_is_shown_beside_its_bicubic_enlargement(visit: Visitor, server: Server) -> None:
    crop = noise()
    seen = visit()
    seen.choose(saved(crop), name="word.png")
    seen.await_result("word.png")
    after = decode(server.post(saved(crop)).content)
    assert (seen.pixels("#after") == after).all()
    assert_bicubic(seen.pixels("#before"), Image.fromarray(crop))
    assert "52 × 20 → 104 × 40 px" in seen.page.locator("#size").inner_text()
    assert seen.page.locator("#model").inner_text() == "tbsrn:1"


def test_the_original_is_decoded_as_the_service_decodes_it(visit: Visitor) -> None:
    seen = visit()
    glass = noise(channels=4)
    seen.choose(saved(glass), name="glass.png")  # transparency lies over white
    seen.await_result("glass.png")
    over_white = Image.alpha_composite(Image.new("RGBA", (52, 20), "white"), Image.fromarray(glass)).convert("RGB")
    assert_bicubic(seen.pixels("#before"), over_white)
    turned = Image.Exif()
    turned[0x0112] = 6
    seen.choose(saved(noise(), "JPEG", exif=turned), name="phone.jpg")
    seen.await_result("phone.jpg")
    assert seen.pixels("#before").shape == seen.pixels("#after").shape == (104, 40, 3)


def test_for_a_format_that_the_browser_cannot_read_only_the_result_is_shown(visit: Visitor) -> None:
    seen = visit()
    seen.choose(saved(noise(), "TIFF"), name="scan.tiff")
    seen.await_result("scan.tiff")
    assert not seen.page.locator("#slider").is_visible()
    assert "cannot show" in seen.page.locator("#caption-before").inner_text()


def test_a_sample_is_one_click_away(visit: Visitor) -> None:
    seen = visit()
    seen.sample("Coffee")
    seen.await_result("coffee.png")
    assert seen.pixels("#after").shape == (44, 156, 3)


def test_a_picture_can_be_pasted(visit: Visitor) -> None:
    seen = visit()
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.evaluate(
        """async (bytes) => {
            const picture = new Blob([new Uint8Array(bytes)], { type: "image/png" });
            await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
        }""",
        list(png(height=9, width=30)),
    )
    seen.page.keyboard.press("Control+V")
    seen.await_result("image.png")
    assert seen.pixels("#after").shape == (18, 60, 3)


def test_pasted_text_shows_an_error(visit: Visitor) -> None:
    seen = visit()
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.evaluate("navigator.clipboard.writeText('hello')")
    seen.page.keyboard.press("Control+V")
    assert "No picture was found" in seen.problem()


def test_a_picture_can_be_dropped_anywhere(visit: Visitor) -> None:
    seen = visit()
    dropped = seen.page.evaluate_handle(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            return data;
        }""",
        list(png(height=9, width=30)),
    )
    seen.page.dispatch_event("#shell", "drop", {"dataTransfer": dropped})
    seen.await_result("dropped.png")


def test_the_slider_moves_by_keyboard_and_by_pointer(visit: Visitor) -> None:
    seen = visit()
    seen.sample("Harbour")
    seen.await_result()
    slider = seen.page.get_by_role("slider", name="Divider between before and after")
    shown = "getComputedStyle(document.querySelector('#after')).clipPath"
    slider.focus()
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "51 % before, 49 % after"
    assert "51%" in seen.page.evaluate(shown)
    slider.press("Home")
    assert slider.input_value() == "0"
    slider.press("End")
    assert slider.input_value() == "100"
    box = slider.bounding_box()
    assert box
    seen.page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert slider.input_value() == "25"
    assert "25%" in seen.page.evaluate(shown)


def test_for_a_text_file_the_page_shows_the_error_of_the_service(visit: Visitor) -> None:
    seen = visit()
    seen.sample("Harbour")
    seen.await_result()
    seen.choose(b"hello, world", name="notes.txt")
    problem = seen.problem()
    assert "The image cannot be decoded" in problem
    assert f"These 12 bytes are not an image in {ACCEPTED}." in problem
    assert seen.page.locator("#total").inner_text() == "–"  # not that of the picture before
    assert seen.page.locator("#download").get_attribute("href") is None
    seen.sample("Harbour")
    seen.await_result()
    assert seen.page.get_by_role("alert").is_hidden()


def test_a_refused_request_and_an_unreachable_service_show_different_errors(
    visit: Visitor, start_server: Callable[..., Server]
) -> None:
    server = start_server()
    seen = visit(server)
    server.app.state.models.begin_drain()
    seen.sample("Harbour")
    assert "The service is not taking requests" in seen.problem()
    server.stop()
    seen.choose(png())
    seen.page.get_by_text("It cannot be reached").wait_for()
    assert all("Failed to load resource" in error for error in seen.errors)
    seen.errors.clear()


def test_the_page_shows_progress_and_a_newer_picture_replaces_the_request(
    visit: Visitor, start_server: Callable[..., Server]
) -> None:
    server = start_server()
    seen = visit(server)
    server.runtime.gate.clear()
    seen.sample("Harbour")
    seen.page.get_by_role("progressbar", name="Super-resolving").wait_for()
    assert seen.page.get_by_role("status").inner_text() == "Super-resolving harbour.png…"
    assert seen.page.locator("#stage").get_attribute("aria-busy") == "true"
    wait_until(lambda: server.metric("telescope_images_in_progress") == 1)
    seen.sample("Coffee")
    wait_until(lambda: server.metric("telescope_requests_total", outcome="cancelled") == 1)
    server.runtime.gate.set()
    seen.await_result("coffee.png")
    assert seen.page.get_by_role("progressbar").is_hidden()


def test_the_result_can_be_downloaded(visit: Visitor, server: Server) -> None:
    seen = visit()
    seen.choose(png((1, 2, 3)), name="my.word.jpeg")
    seen.await_result()
    with seen.page.expect_download() as download:
        seen.page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "my.word-x2.png"
    assert (decode(download.value.path().read_bytes()) == picture((1, 2, 3), height=32, width=128)).all()


def test_the_bar_and_the_list_show_the_time_of_each_phase(visit: Visitor) -> None:
    seen = visit()
    with seen.page.expect_response("**/v1/super-resolve*") as response:
        seen.sample("Harbour")
    seen.await_result()
    spent = dict(re.findall(r"(\w+);dur=([\d.]+)", response.value.headers["server-timing"]))
    for phase, duration in spent.items():
        shown = seen.page.locator(f"#{phase}").inner_text()
        assert float(shown.removesuffix(" ms")) == pytest.approx(float(duration), abs=0.51)
    widths = seen.page.evaluate(
        "Array.from(document.querySelectorAll('.bar span'), (part) => part.getBoundingClientRect().width)"
    )
    bar = seen.page.locator(".bar").bounding_box()
    assert bar
    assert sum(widths) == pytest.approx(bar["width"], abs=0.5)
    assert widths[2] / bar["width"] == pytest.approx(float(spent["inference"]) / float(spent["total"]), abs=0.02)


def test_without_a_recogniser_the_page_does_not_mention_one(visit: Visitor, server: Server) -> None:
    assert not visit().page.get_by_text("Read by").is_visible()
    assert server.client.post("/v1/recognise", content=png()).status_code == 404
    assert "/v1/recognise" not in json.dumps(httpx.get(f"{server.url}/openapi.json").json())


def test_the_modes_of_the_service_are_offered_and_sent(visit: Visitor, server: Server) -> None:
    seen = visit(go=False)
    schema = server.client.get("/openapi.json").json()
    mode = {"name": "mode", "in": "query", "schema": {"enum": ["auto", "always"], "default": "auto"}}
    operation = schema["paths"]["/v1/super-resolve"]["post"]
    operation["parameters"] = [one for one in operation["parameters"] if one["name"] != "mode"] + [mode]
    asked: list[str] = []

    def without_mode(route: "Route") -> None:
        asked.append(route.request.url.partition("?")[2])
        route.continue_(url=f"{server.url}/v1/super-resolve")

    seen.page.route("**/openapi.json", lambda route: route.fulfill(json=schema))
    seen.page.route("**/v1/super-resolve*", without_mode)
    seen.page.goto(server.url)
    seen.page.get_by_label("Mode").wait_for()
    seen.sample("Harbour")
    seen.await_result("harbour.png")
    seen.page.get_by_label("Mode").select_option("always")
    wait_until(lambda: seen.page.evaluate("true") and len(asked) == 2)
    seen.await_result("harbour.png")
    assert asked == ["mode=auto", "mode=always"]
