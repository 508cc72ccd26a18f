"""`text-telescope read`: in this process with the real recogniser, and by a service with a fake one."""

import json
import signal
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from app.__main__ import main
from app.bulk.forms import Line, ReadPage, hocr
from app.ocr.reader import TextReader
from tests.app.conftest import Server, png
from tests.app.http.test_page import FakeEngine, bars
from tests.app.process import SOON_READY, at_a_terminal
from tests.conftest import REPOSITORY

MARKET = REPOSITORY / "examples" / "pages" / "market.png"
XHTML = "{http://www.w3.org/1999/xhtml}"
Captured = pytest.CaptureFixture[str]
Read = Callable[..., int]


@pytest.fixture
def service(server: Server) -> Server:
    settings, metrics = server.app.state.settings, server.app.state.metrics
    server.app.state.reader = TextReader(settings, metrics, open_engine=lambda **_: FakeEngine())
    return server


@pytest.fixture
def read(service: Server) -> Read:
    """The exit code of `text-telescope read`, by a service that reads each line as a number."""
    return lambda *arguments: main(["read", "--url", service.url, *map(str, arguments)])


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with two pages, one of them in a folder below, and two files that are no pictures."""
    folder = tmp_path / "scans"
    (folder / "below").mkdir(parents=True)
    (folder / "a.png").write_bytes(bars(150, 160))
    (folder / "below" / "b.png").write_bytes(bars(170))
    (folder / "bad.png").write_text("no picture")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.mark.slow
def test_a_page_is_read_in_this_process(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("rapidocr")
    for name, value in SOON_READY.items():
        monkeypatch.setenv(name, value)
    assert main(["read", str(MARKET), "--runtime", "openvino"]) == 0
    out, err = capsys.readouterr()
    written = MARKET.with_suffix(".txt").read_text().splitlines()
    assert len(set(out.splitlines()) & set(written)) >= 8
    assert err == ""


def test_json_is_that_of_the_api_with_the_name_of_the_file(
    read: Read, service: Server, scans: Path, capsys: Captured
) -> None:
    assert read(scans / "a.png", "--format", "json", "--mode", "always") == 0
    (line,) = capsys.readouterr().out.splitlines()
    posted = service.client.post(
        "/v1/super-resolve/page?read=true&pictures=false&mode=always",
        files={"image": (scans / "a.png").read_bytes()},
    ).json()
    assert json.loads(line) == {"file": str(scans / "a.png"), **posted}
    assert [one["method"] for one in posted["lines"]] == ["super_resolved"] * 2


def test_with_layout_line_the_whole_picture_is_one_line(read: Read, scans: Path, capsys: Captured) -> None:
    assert read(scans / "a.png", "--format", "json", "--layout", "line") == 0
    (line,) = json.loads(capsys.readouterr().out)["lines"]
    assert line["box"] == [[0, 0], [200, 0], [200, 180], [0, 180]]


def test_pages_of_a_folder_follow_each_other_under_their_names_and_a_bad_one_is_named(
    read: Read, scans: Path, capsys: Captured
) -> None:
    assert read(scans) == 1
    out, err = capsys.readouterr()
    assert out == f"==> {scans}/a.png <==\n150\n160\n\n==> {scans}/below/b.png <==\n170\n\n"
    bad, summary = err.splitlines()
    assert bad.startswith(f"{scans}/bad.png: These 10 bytes are not an image")
    assert summary == "3 pages: 3 lines, 1 failed; 1 file left out: 1 .txt"


PARTS = {  # of a file with two pages, and how often each is in it
    ".txt": {b"==>": 2, b"\n170\n": 1},
    ".json": {b'"file"': 2, b"\n": 2, b'"text": "170", "lines"': 1},
    ".hocr": {b"<html": 1, b"</html>": 1, b'class="ocr_page"': 2, b">170</span>": 1},
    ".pdf": {b"%PDF-": 1, b"/Type /Page\n": 2},
}


@pytest.mark.parametrize("ending", PARTS)
def test_a_folder_gets_a_file_for_each_page_and_a_file_all_pages(
    read: Read, scans: Path, ending: str, tmp_path: Path
) -> None:
    if ending == ".pdf":
        pytest.importorskip("fpdf")
    out = tmp_path / "out"
    assert read(scans, "-o", out, "--format", {".txt": "text"}.get(ending, ending[1:])) == 1
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {f"a{ending}", f"below/b{ending}"}
    assert read(scans, "-o", tmp_path / "new" / f"all{ending}") == 1  # the ending names the format
    (document,) = (tmp_path / "new").iterdir()
    found = document.read_bytes()
    assert {part: found.count(part) for part in PARTS[ending]} == PARTS[ending]


def of_class(element: ElementTree.Element, tag: str, name: str) -> list[ElementTree.Element]:
    return [one for one in element.iter(XHTML + tag) if one.get("class") == name]


def properties(element: ElementTree.Element) -> dict[str, str]:
    """The properties of hOCR, each with its values."""
    return dict(one.strip().split(" ", 1) for one in element.attrib["title"].split("; "))


def bounds(element: ElementTree.Element) -> list[int]:
    return [int(value) for value in properties(element)["bbox"].split()]


WRITTEN = ["Cafés & <Straßen> 5 €", "新鲜海产 每日供应", "Łódź 𠮷野家"]
BOXES = [  # level, upwards and rising by 30 degrees
    [[20, 20], [220, 20], [220, 50], [20, 50]],
    [[300, 280], [300, 40], [330, 40], [330, 280]],
    [[20, 240], [193, 140], [208, 166], [35, 266]],
]


def page(*lines: str) -> ReadPage:
    """A page of 400 x 300 pixels with up to three lines."""
    found: dict[str, Any] = {
        "input": {"width": 400, "height": 300},
        "text": "\n".join(lines),
        "lines": [
            {"box": box, "reading": {"text": line, "confidence": 0.9}}
            for box, line in zip(BOXES, lines, strict=False)
        ],
    }
    return ReadPage(Path('scan "1".png'), png(height=300, width=400), found)


def test_text_of_every_script_can_be_copied_from_the_pdf_and_lies_over_its_line() -> None:
    pytest.importorskip("fpdf")
    from pypdf import PdfReader

    from app.bulk.pdf import pdf

    (document,) = pdf(iter([page(*WRITTEN), page("Other letters")]), True)
    first, second = PdfReader(BytesIO(document)).pages
    places: dict[str, list[float]] = {}

    def note(found: str, cm: list[float], tm: list[float], *_: object) -> None:
        places[found.strip()] = [*cm, *tm]

    assert first.extract_text(visitor_text=note).replace("\n", "") == "".join(WRITTEN)
    assert second.extract_text() == "Other letters"
    (picture,) = first.images
    assert picture.image
    assert picture.image.size == (400, 300)
    pixels = 400 / float(first.mediabox.width)
    *_, x, y = places[WRITTEN[0]]
    assert (pixels * x, 300 - pixels * y) == pytest.approx((20, 44), abs=1)  # in the line, near its bottom


def test_words_are_placed_by_their_letters_of_which_those_of_chinese_are_twice_as_wide() -> None:
    line = Line([(0, 0), (120, 0), (120, 10), (0, 10)], "ab 新鲜 cd", 0.5)  # 2 + 1 + 4 + 1 + 2 = 10 widths
    assert [(word.text, word.corners[0][0], word.corners[1][0]) for word in line.words()] == [
        ("ab", 0, 24),
        ("新鲜", 36, 84),
        ("cd", 96, 120),
    ]


def test_hocr_has_every_line_and_word_in_its_place() -> None:
    document = ElementTree.fromstring(b"".join(hocr(iter([page(*WRITTEN)]), False)))
    (sheet,) = of_class(document, "div", "ocr_page")
    assert sheet.attrib["title"] == "image \"scan '1'.png\"; bbox 0 0 400 300; ppageno 0"
    level, upwards, rising = lines = of_class(sheet, "span", "ocr_line")
    assert ["".join(line.itertext()) for line in lines] == WRITTEN
    assert level.attrib["title"] == "bbox 20 20 220 50; baseline 0.000 0"
    assert upwards.attrib["title"] == "bbox 300 40 330 280; textangle 90.0"
    assert float(properties(rising)["baseline"].split()[0]) == pytest.approx(-np.tan(np.pi / 6), abs=0.01)
    for line in lines:
        left, top, right, bottom = bounds(line)
        for word in of_class(line, "span", "ocrx_word"):
            x0, y0, x1, y1 = bounds(word)
            assert left <= x0 < x1 <= right
            assert top <= y0 < y1 <= bottom
            assert properties(word)["x_wconf"] == "90"


def test_a_page_without_text_is_no_failure(read: Read, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "empty.png").write_bytes(png((255, 255, 255), height=300, width=200))
    assert read(tmp_path / "empty.png") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.png"], "missing.png does not exist."),
        (["a.png", "-o", "a.png"], "a.png would be overwritten, and is one of the inputs"),
        (["a.png", "-o", "/proc/new/all.txt"], "/proc/new cannot be written"),
        (["a.png", "--url", "http://127.0.0.1:1"], "The service cannot be reached at http://127.0.0.1:1"),
        (["a.png", "--url", "http://127.0.0.1:1", "--device", "cpu"], "--device is the service's own choice"),
    ],
)
def test_a_call_that_cannot_work_is_told_in_one_sentence(
    arguments: list[str], told: str, scans: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scans)
    assert main(["read", *arguments]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_a_pdf_is_told_to_be_rendered_first(read: Read, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "doc.pdf").write_bytes(b"%PDF-1.7 ...")
    assert read(tmp_path / "doc.pdf") == 1
    assert "render its pages first: pdftoppm -r 200 -png" in capsys.readouterr().err


def test_a_service_that_reads_no_text_is_named_once(
    start_server: Callable[..., Server], scans: Path, capsys: Captured
) -> None:
    assert main(["read", "--url", start_server(ocr="off").url, str(scans)]) == 2
    err = capsys.readouterr().err
    assert "TELESCOPE_OCR is off" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("package", "form", "extra"), [("rapidocr", "text", "ocr"), ("fpdf", "pdf", "pdf")])
def test_a_missing_package_is_named_with_its_extra_before_the_model_is_loaded(
    package: str, form: str, extra: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "app.bulk.pdf", raising=False)
    assert main(["read", str(MARKET), "--format", form, "-o", str(tmp_path / "out")]) == 2
    assert f"pip install 'text-telescope[{extra}]'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_terminal_shows_a_bar_and_ctrl_c_ends_without_a_traceback(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pages = [str(MARKET)] + [str(tmp_path / f"{i}.png") for i in range(30)]
    for path in pages[1:]:
        Path(path).write_bytes(MARKET.read_bytes())
    with at_a_terminal("-m", "app", "read", *pages, "-o", str(tmp_path / "all.txt")) as terminal:
        terminal.read(until=r" [1-9]/31 \[")
        terminal.popen.send_signal(signal.SIGINT)
        shown = terminal.read()
        assert terminal.popen.wait(30) == 130
    assert "Traceback" not in shown
    assert not list(tmp_path.glob("all*"))
