"""The demo page for keyboards, screen readers and telephones, and its content security policy."""

import re

import pytest

from tests.app.conftest import png, wait_until
from tests.app.demo.conftest import Visit, Visitor


def test_every_control_is_reached_by_keyboard_and_shows_its_focus(visit: Visitor) -> None:
    seen = visit()
    seen.sample("Harbour")
    seen.await_result()
    seen.page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    reached = set()
    for _ in range(30):
        seen.page.keyboard.press("Tab")
        name, ring = seen.page.evaluate(
            """() => {
                const one = document.activeElement;
                const marked = { file: one.nextElementSibling, slider: one.nextElementSibling }[one.id] ?? one;
                const after = getComputedStyle(marked, "::after").outlineStyle;
                const ring = [getComputedStyle(marked).outlineStyle, after].some((style) => style !== "none");
                return [one.id || one.querySelector("img")?.alt || one.textContent.trim(), ring];
            }"""
        )
        if seen.page.evaluate("document.activeElement === document.body"):
            break
        assert ring, f"{name} does not show that it has the focus"
        reached.add(name)
    assert {"file", "download", "zoom", "pixels", "slider", "Harbour", "STATION", "API docs"} <= reached


def test_a_screen_reader_finds_names_roles_and_headings(visit: Visitor) -> None:
    page = visit().page
    for role, name in [
        ("button", "Choose"),  # the file input
        ("combobox", "Zoom"),
        ("checkbox", "Show pixels"),
        ("link", "Download"),
        ("region", "Before and after"),
        ("region", "Samples"),
        ("navigation", "Service"),
        ("link", "Metrics"),
    ]:
        assert page.get_by_role(role, name=name).count() >= 1, (role, name)  # type: ignore[arg-type]
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("main").count() == page.locator("h1").count() == 1
    assert page.locator("img:not([alt])").count() == 0
    ids = page.evaluate("Array.from(document.querySelectorAll('[id]'), (one) => one.id)")
    assert len(ids) == len(set(ids))


def test_zoom_enlarges_in_whole_steps_and_pixels_can_be_shown(visit: Visitor) -> None:
    seen = visit()
    seen.sample("Harbour")  # its result has 112 x 32 pixels
    seen.await_result()
    shown = seen.page.locator("#after")

    def width() -> float:
        box = shown.bounding_box()
        assert box
        return box["width"]

    assert width() % 112 == 0
    for zoom in (1, 8):
        seen.page.get_by_label("Zoom").select_option(str(zoom))
        assert width() == 112 * zoom
    seen.page.get_by_label("Show pixels").check()
    assert shown.evaluate("(one) => getComputedStyle(one).imageRendering") == "pixelated"


def test_on_a_picture_wider_than_the_stage_only_the_divider_moves_the_slider(visit: Visitor) -> None:
    seen = visit(width=400)
    seen.sample("Harbour")
    seen.await_result()
    assert touched(seen, 0.1) == touched(seen, 0.5) == "slider"
    seen.page.get_by_label("Zoom").select_option("4")
    assert touched(seen, 0.1) != "slider"
    assert touched(seen, 0.5) == "slider"
    box = seen.page.locator("#after").bounding_box()
    assert box
    seen.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20)
    seen.page.mouse.down()
    seen.page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 20)
    seen.page.mouse.up()
    assert seen.page.locator("#slider").input_value() == "25"


def touched(seen: Visit, share: float) -> str:
    """The id of the topmost element at that share of the picture's width."""
    return seen.page.locator("#after").evaluate(
        """(picture, share) => {
            const { x, y, width } = picture.getBoundingClientRect();
            return document.elementFromPoint(x + share * width, y + 20).id;
        }""",
        share,
    )


@pytest.mark.parametrize("width", [360, 400])
def test_a_narrow_screen_needs_no_sideways_scrolling(visit: Visitor, width: int) -> None:
    seen = visit(width=width)
    seen.choose(png(height=24, width=700), name="a-very-long-name" * 8 + ".png")
    seen.await_result()
    seen.page.get_by_label("Zoom").select_option("8")
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width


def test_the_layout_does_not_shift_when_a_result_or_an_error_arrives(visit: Visitor) -> None:
    seen = visit()
    seen.page.evaluate(
        """() => {
            window.moved = [];
            const where = ({ node, previousRect, currentRect }) => [node, previousRect, currentRect]
                .map((one) => one?.outerHTML?.slice(0, 60) ?? JSON.stringify(one)).join(" ");
            const note = (list) => window.moved.push(...list.getEntries().flatMap((shift) => shift.sources));
            new PerformanceObserver(note).observe({ type: "layout-shift" });
            window.where = () => window.moved.map(where);
        }"""
    )
    seen.sample("Harbour")
    seen.await_result()
    seen.choose(b"hello, world")
    seen.problem()
    seen.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert seen.page.evaluate("window.where()") == []


CONTRASTS = """() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (one) => {
        const colour = parse(getComputedStyle(one).backgroundColor);
        return colour.length === 3 || colour[3] > 0 ? colour : ground(one.parentElement);
    };
    const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const one = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim() || !one.checkVisibility()) continue;
        const pair = [light(parse(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a);
        found.push([walk.currentNode.data.trim(), (pair[0] + 0.05) / (pair[1] + 0.05)]);
    }
    return found;
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_has_contrast_in_light_and_dark(visit: Visitor, dark: bool) -> None:
    seen = visit(dark=dark)
    seen.choose(b"hello, world")
    seen.problem()
    found = seen.page.evaluate(CONTRASTS)
    assert len(found) > 30
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []  # WCAG 2.2, 1.4.3
    red, green, blue = map(
        int,
        re.findall(r"\d+", seen.page.evaluate("getComputedStyle(document.body).backgroundColor")),
    )
    assert (red + green + blue < 128) is dark


def test_the_policy_blocks_inline_scripts_and_other_hosts(visit: Visitor) -> None:
    seen = visit()
    seen.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.injected = true";
            document.body.append(script);
            new Image().src = "http://127.0.0.2:9/pixel.png";
        }"""
    )
    wait_until(lambda: seen.page.evaluate("true") and len(seen.errors) == 2)
    assert all("Content Security Policy" in error for error in seen.errors)
    assert seen.page.evaluate("window.injected") is None
    seen.errors.clear()
    seen.requests[:] = [url for url in seen.requests if "127.0.0.2" not in url]  # noted, though never sent
