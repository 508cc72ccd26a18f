"""The OCR examples, with the real OCR packages and a real service."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from text_telescope import TelescopeClient

from examples import make_pages, pipelines
from tests.app.process import Process, ready, scraped, wait_until
from tests.conftest import REPOSITORY
from training.data.fonts import BUNDLED

PAGE = cv2.imread(str(pipelines.PAGE))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a service with the bundled model."""
    process = Process()
    wait_until(lambda: ready(process.url()), 60)
    yield process.url()
    process.kill()


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")


BOTH = [
    pytest.param("rapidocr_pipeline", marks=needs("rapidocr")),
    pytest.param("paddleocr_pipeline", marks=needs("rapidocr_paddle")),
]


def run(example: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"examples.{example}", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


def images_total(url: str) -> float:
    return sum(n for name, n in scraped(url).items() if name.startswith("telescope_images_total"))


@pytest.mark.slow
@pytest.mark.parametrize("example", BOTH)
def test_an_example_reads_the_page_with_and_without_the_service(example: str, url: str) -> None:
    before = images_total(url)
    done = run(example, "--url", url)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[1:]
    without = [line[2:] for line in lines if line[0] in " -"]
    with_service = [line[2:] for line in lines if line[0] in " +"]
    assert len(without) == len(with_service) >= 10
    assert images_total(url) - before >= len(with_service), "crops were read without the service"
    assert without[0].replace(" ", "") == "HARBOURMARKET"
    alike = sum(one[:1] == other[:1] for one, other in zip(without, with_service, strict=True))
    assert alike >= 0.7 * len(without), "lines were read from each other's crops"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--url", "http://127.0.0.1:1"], "refused. Start a service with `text-telescope serve`.\n"),
        (["README.md"], "README.md is no picture that OpenCV can read\n"),
    ],
)
def test_an_unusable_page_or_service_is_reported_in_one_sentence(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(page: np.ndarray, telescope: TelescopeClient | None) -> pipelines.Texts:
        return {(0.0, 0.0): str(telescope and telescope.super_resolve(page).shape)}

    monkeypatch.chdir(REPOSITORY)
    assert pipelines.main(arguments, name="example", read=read) == 2
    error = capsys.readouterr().err
    assert error.endswith(why)
    assert error.count("\n") == 1


def test_the_difference_lists_the_lines_from_top_to_bottom() -> None:
    top, left, right = (0.0, 1.0), (0.0, 9.0), (5.0, 9.0)
    lines = pipelines.difference({right: "b", left: "a", top: "same"}, {top: "same", left: "A", right: "b"})
    assert lines == ["  same", "- a", "+ A", "  b"]
    assert pipelines.difference({}, {top: "new"}) == ["- ", "+ new"]


@pytest.mark.slow
def test_a_page_without_text_has_no_differences(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipelines.main(["--url", url], name="example", read=lambda page, telescope: {}) == 0
    assert capsys.readouterr().out == f"{pipelines.PAGE} has no text that the detector finds\n"


def test_the_page_is_made_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_pages, "find_fonts", lambda folder: (BUNDLED,))
    assert make_pages.main(["--out", str(tmp_path)]) == 0
    assert (tmp_path / "market.txt").read_bytes() == (make_pages.OUT / "market.txt").read_bytes()
    with Image.open(tmp_path / "market.png") as made, Image.open(pipelines.PAGE) as committed:
        assert made.size == committed.size == make_pages.SIZE
        assert np.abs(np.asarray(made, float).mean() - np.asarray(committed, float).mean()) < 10
