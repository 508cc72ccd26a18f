"""The demo page with the real models and the real recogniser: what it says was won, and how to repeat it."""

import json
import re
import shlex
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from app.demo.page import STATIC
from examples.make_demo_samples import words_read
from tests.app.demo.conftest import Service, Visitor
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

SIGN = (STATIC / "samples" / "sign.png").read_bytes()
SCAN = (STATIC / "samples" / "scan.png").read_bytes()
HARBOUR = (REPOSITORY / "examples" / "crops" / "harbour.png").read_bytes()


def test_a_sample_says_first_which_words_were_won(visit: Visitor, reading: Service) -> None:
    seen = visit(reading)
    seen.sample("A blurred sign")
    assert re.fullmatch(r"\d more words? read, 0 lost\.", seen.verdict())
    assert "chosen by the rule" in seen.page.locator("#verdict-note").inner_text()
    line = seen.page.get_by_role("button", name=re.compile(r"^Line 1, \d words? won"))
    truth = json.loads((STATIC / "samples" / "samples.json").read_text())["samples"][0]["lines"][0]["text"]
    for word in line.locator("mark.won").all_inner_texts():
        assert word.split()[0] in truth.split()
    line.press("Enter")
    dialog = seen.page.get_by_role("dialog")
    slider = dialog.get_by_role("slider", name="Divider between before and after")
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "51 % before, 49 % after"
    assert truth in dialog.inner_text()
    seen.page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_the_sharp_sample_is_left_alone(visit: Visitor, reading: Service) -> None:
    seen = visit(reading)
    seen.sample("A sharp notice")
    assert re.fullmatch(
        r"Nothing to win: every word is read already, \d lines left as they were\.", seen.verdict()
    )
    assert seen.page.locator(".box.same").count() == 5


def test_a_page_of_ones_own_shows_its_boxes_and_claims_no_truth(visit: Visitor, reading: Service) -> None:
    seen = visit(reading)
    seen.choose(SCAN, name="my scan.png")
    assert re.fullmatch(
        r"\d lines? (is|are) read differently and more surely, \d lines? left as (it was|they were)\.",
        seen.verdict(),
    )
    boxes = seen.page.get_by_role("group", name="Lines found").get_by_role("button")
    lines = seen.page.locator(".lines button")
    assert boxes.count() == lines.count() >= 5
    boxes.first.focus()
    seen.page.keyboard.press("End")  # to the last box
    seen.page.keyboard.press("Enter")
    assert f"Line {boxes.count()} of" in seen.page.get_by_role("dialog").inner_text()
    seen.page.get_by_role("button", name="Close").click()
    seen.page.get_by_text("Time on the server").click()
    assert {"detect", "read", "inference", "round trip"} <= set(seen.page.locator("#times th").all_inner_texts())


def test_of_a_format_that_the_browser_cannot_show_the_lines_are_shown(visit: Visitor, reading: Service) -> None:
    seen = visit(reading)
    tiff = BytesIO()
    with Image.open(STATIC / "samples" / "scan.png") as scan:
        scan.save(tiff, "TIFF")
    seen.choose(tiff.getvalue(), name="scan.tiff")
    assert "read differently" in seen.verdict()
    assert "cannot show the picture's format" in seen.page.locator(".page").inner_text()
    assert seen.page.locator(".lines img").count() == seen.page.locator(".lines button").count()
    seen.page.locator(".lines button").last.click()
    seen.page.locator("#before").wait_for()


def test_several_pictures_become_a_grid_and_one_zip(visit: Visitor, reading: Service) -> None:
    seen = visit(reading)
    seen.choose(SIGN, HARBOUR, SCAN, b"hello, world", HARBOUR, name="one.png")
    assert seen.verdict().endswith("1 of 5 pictures failed.")
    cards = seen.page.locator(".grid button")
    assert cards.count() == 5
    assert "The image cannot be decoded" in cards.nth(3).inner_text()
    with seen.page.expect_download() as download:
        seen.page.get_by_role("button", name="Download ZIP").click()
    with zipfile.ZipFile(BytesIO(download.value.path().read_bytes())) as held:
        assert held.testzip() is None
        assert held.read("2-one/text.txt") == b"Harbour\n"
        assert {"1-one/lines/1.png", "3-one/results.json", "5-one/text.txt"} <= set(held.namelist())
        assert json.loads(held.read("1-one/results.json"))["lines"][0]["data"] == "lines/1.png"
    cards.nth(2).click()
    assert seen.page.get_by_role("heading", name="3-one.png").is_visible()
    seen.page.get_by_role("button", name="All pictures").click()
    assert cards.count() == 5
    assert all("400" in error for error in seen.errors)
    seen.errors.clear()


def test_two_models_are_compared_and_the_commands_repeat_the_screen(
    visit: Visitor, reading: Service, tmp_path: Path
) -> None:
    seen = visit(reading)
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.choose(SIGN, name="a sign.png")
    seen.verdict()
    seen.page.get_by_text("Options:").click()
    seen.page.locator("#mode").select_option("always")
    seen.verdict()
    seen.page.locator("#other").select_option("tbsrn:1")
    assert re.match(r"tbsrn:4: .+ tbsrn:1: .+", seen.verdict())
    assert seen.page.locator(".run-verdict").count() == 2
    seen.page.get_by_role("button", name="Copy curl").click()
    commands = seen.page.evaluate("navigator.clipboard.readText()").splitlines()
    (tmp_path / "a sign.png").write_bytes(SIGN)
    for model, command in zip((4, 1), commands, strict=True):
        done = subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, check=True)
        answer = json.loads(done.stdout)
        assert answer["model"]["version"] == model
        shown = (
            seen.page.get_by_role("article", name=f"tbsrn:{model}").locator(".reading").last.text_content() or ""
        )
        assert shown.replace(" (differs)", "").startswith(answer["lines"][0]["reading"]["text"])
    seen.page.get_by_role("button", name="Copy Python").click()
    program = seen.page.evaluate("navigator.clipboard.readText()")
    assert 'telescope.page("a sign.png", mode="always", model="tbsrn:4")' in program
    compile(program, "the page", "exec")


def test_another_recogniser_gets_pictures_by_its_rule(visit: Visitor, reading: Service) -> None:
    seen = visit(reading)
    seen.page.get_by_text("Options:").click()
    seen.page.locator("#recogniser").select_option("tesseract")
    assert re.search(r"tesseract: super-resolves crops", seen.page.locator("#recogniser-rule").inner_text())
    seen.choose(SIGN)
    assert seen.verdict() == "The line is super-resolved."
    assert "recogniser=tesseract" in seen.page.locator("#curl").inner_text()


COUNTED = [  # a line's text, and how it was read
    ("HARBOUR MARKET 24", "HARBOURMARKET 24"),
    ("in the inn", "inn the"),
    ("one two two", "two one two"),
    ("Öl für Øre", "Ol für Øre"),
    ("thought tickets", "though tickets"),
    ("nothing", ""),
]


def test_page_and_samples_count_the_same_words(visit: Visitor) -> None:
    script = """async ([words, read]) => (await import("/web/words.js")).wordsRead(words, read).map(Boolean)"""
    page = visit().page
    for truth, read in COUNTED:
        assert page.evaluate(script, [truth.split(), read]) == words_read(truth, read), read
