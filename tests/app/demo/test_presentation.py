"""The demo page for keyboards, screen readers and telephones, and its content security policy."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.app.conftest import Server
from tests.app.demo.conftest import Service, Visitor
from tests.app.process import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_every_control_is_reached_by_keyboard_and_shows_its_focus(
    visit: Visitor, start_server: Callable[..., Server]
) -> None:
    seen = visit(start_server(ocr="off"))
    sample = seen.page.get_by_role("button", name="A scan")
    sample.focus()
    sample.press("Enter")
    seen.verdict()
    seen.page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    reached = set()
    for _ in range(30):
        seen.page.keyboard.press("Tab")
        name, ring = seen.page.evaluate(
            """() => {
                const one = document.activeElement;
                const marked = one.id === "file" ? one.nextElementSibling : one;
                const ring = getComputedStyle(marked).outlineStyle !== "none";
                return [one.id || one.textContent.trim(), ring];
            }"""
        )
        if seen.page.evaluate("document.activeElement === document.body"):
            break
        assert ring, f"{name} does not show that it has the focus"
        reached.add(name)
    assert {"file", "download", "A blurred sign", "A sharp notice", "API docs", "Copy curl"} <= reached


def test_a_screen_reader_finds_names_roles_and_headings(visit: Visitor) -> None:
    page = visit().page
    page.get_by_text("Options:").click()
    for role, name in [
        ("button", "Choose"),  # the file input
        ("button", "A subtitle"),
        ("combobox", "Model"),
        ("combobox", "Recogniser"),
        ("region", "Verdict"),
        ("region", "Samples"),
        ("navigation", "Service"),
        ("link", "Metrics"),
    ]:
        page.get_by_role(role, name=name).first.wait_for(state="attached")  # type: ignore[arg-type]
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("main").count() == page.locator("h1").count() == 1
    assert page.locator("img:not([alt])").count() == 0
    ids = page.evaluate("Array.from(document.querySelectorAll('[id]'), (one) => one.id)")
    assert len(ids) == len(set(ids))


def test_on_a_telephone_the_verdict_comes_first_and_the_picture_fills_the_width(
    visit: Visitor, reading: Service
) -> None:
    seen = visit(reading, width=400)
    seen.sample("A scan")
    assert re.search(r"\d more words? read, \d lost", seen.verdict())
    assert seen.page.evaluate("document.documentElement.scrollWidth") == 400
    picture, verdict = (
        seen.page.locator(".page canvas").bounding_box(),
        seen.page.locator("#verdict").bounding_box(),
    )
    assert picture
    assert verdict
    assert picture["width"] == 400
    assert verdict["y"] < 120 < picture["y"]
    seen.page.locator(".lines button").first.click()
    assert seen.page.evaluate("document.querySelector('dialog').scrollWidth") <= 400


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
        if (one.closest("svg")) continue;  // on a ground of its own
        if (!walk.currentNode.data.trim() || !one.checkVisibility()) continue;
        const pair = [light(parse(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a);
        found.push([walk.currentNode.data.trim(), (pair[0] + 0.05) / (pair[1] + 0.05)]);
    }
    return found;
}"""


def contrasts(page: "Page") -> list[tuple[str, str, float]]:
    """Scheme, text and contrast of everything that the page shows in both schemes."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 128) is (scheme == "dark")
        found += [(scheme, text, ratio) for text, ratio in page.evaluate(CONTRASTS)]
    return found


def test_text_has_contrast_in_light_and_dark(visit: Visitor, reading: Service) -> None:
    seen = visit(reading)
    seen.choose(b"hello, world")
    seen.problem()
    found = contrasts(seen.page)
    seen.sample("A scan")
    seen.verdict()
    found += contrasts(seen.page)
    seen.errors.clear()  # the refused file
    assert len(found) > 60
    assert [(scheme, text, ratio) for scheme, text, ratio in found if ratio < 4.5] == []  # WCAG 2.2, 1.4.3


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
