"""The figures in the documents are those of the reports."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean

import pytest

from bench.harness import quotes
from bench.harness.quotes import REPORTS, ROOT, documents, outside, publish, renewed
from tests.conftest import REPOSITORY
from training.calibration.readers import READER_NAMES

TABLE = "| side | images/s |\n| --- | --- |\n| service | 557 |"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write("raw", best="557"): a report with these quotes in the folder that is returned."""

    def write(name: str, *, quick: bool = False, **texts: str) -> Path:
        folder = tmp_path / "reports"
        folder.mkdir(exist_ok=True)
        head = {
            "command": f"python -m bench {name}",
            "created_at": "2026-01-02T03:04:05",
            "machine": "a processor",
        }
        content = {**head, "quick": quick, "quotes": texts}
        (folder / f"{name}.json").write_text(json.dumps(content))
        (folder / f"{name}.md").write_text(f"# {name}\n")
        return folder

    return write


@pytest.mark.parametrize("document", list(documents()), ids=lambda path: path.name)
def test_every_quote_is_that_of_its_report(document: Path) -> None:
    text = document.read_text()
    assert renewed(text) == text, "run: python -m bench quote"


def test_a_quote_within_a_sentence_is_renewed_in_its_place(write: Write) -> None:
    folder = write("raw", best="557", table=TABLE)
    text = "It does <!-- figures: raw best -->1<!-- /figures --> images a second."
    assert renewed(text, folder) == text.replace(">1<", ">557<")
    assert outside(text) == "It does  images a second."


def test_a_table_stands_on_lines_of_its_own(write: Write) -> None:
    folder = write("raw", table=TABLE)
    text = "Speed:\n\n<!-- figures: raw table -->\n| old |\n<!-- /figures -->\n\nThe end.\n"
    new = renewed(text, folder)
    assert new == f"Speed:\n\n<!-- figures: raw table -->\n{TABLE}\n<!-- /figures -->\n\nThe end.\n"
    assert renewed(new, folder) == new


def test_several_quotes_of_one_document_are_renewed_apart(write: Write) -> None:
    write("raw", best="557")
    folder = write("http", best="420")
    begin, end = "<!-- figures: {} best -->", "<!-- /figures -->"
    text = f"{begin.format('raw')}{end} and {begin.format('http')}{end}"
    assert renewed(text, folder) == f"{begin.format('raw')}557{end} and {begin.format('http')}420{end}"


def test_the_source_is_command_day_and_machine(write: Write) -> None:
    text = renewed("<!-- figures: raw source --><!-- /figures -->", write("raw"))
    assert "`python -m bench raw`, 2026-01-02, a processor" in text


def test_an_unknown_quote_is_named_with_those_that_there_are(write: Write) -> None:
    folder = write("raw", best="557")
    with pytest.raises(KeyError, match=r"raw\.json has no quote 'worst'.*best"):
        renewed("<!-- figures: raw worst --><!-- /figures -->", folder)


def test_published_reports_and_charts_are_copied_and_every_document_renewed(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports, images, document = tmp_path / "docs", tmp_path / "images", tmp_path / "README.md"
    reports.mkdir()
    images.mkdir()
    document.write_text("<!-- figures: raw best -->1<!-- /figures -->")
    folder = write("raw", best="557")
    (folder / "raw.svg").write_text("<svg/>")
    monkeypatch.setattr(quotes, "REPORTS", reports)
    monkeypatch.setattr(quotes, "IMAGES", images)
    monkeypatch.setattr(quotes, "documents", lambda: [document])
    monkeypatch.setattr(quotes.renewed, "__defaults__", (reports,))
    publish(folder)
    assert {path.name for path in reports.iterdir()} == {"raw.json", "raw.md"}
    assert (images / "raw.svg").read_text() == "<svg/>"
    assert document.read_text() == "<!-- figures: raw best -->557<!-- /figures -->"


def test_a_quick_report_is_not_published(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = tmp_path / "docs"
    reports.mkdir()
    monkeypatch.setattr(quotes, "REPORTS", reports)
    monkeypatch.setattr(quotes, "documents", list)
    with pytest.raises(SystemExit, match=r"raw\.json is of a quick run"):
        publish(write("raw", quick=True, best="557"))
    assert list(reports.iterdir()) == []


# The rule for figures outside of quotes. The documents of FIGURES have a figure with one of these units only in a
# quote; limits and settings, which are no measurements, are allowed as phrases.
FIGURES = ("README.md", "docs/performance.md", "docs/auto-mode.md", "docs/deployment.md", "docs/bulk.md")
MEASURED = re.compile(
    r"(?<![\w.])\d[\d,. ]*(?:to \d[\d,.]* )?"
    r"(?:(?:images|pictures|crops|requests|pages|words|pairs|steps)(?:/s\b| a second\b| per second\b)"
    r"|points?\b|dB\b|percentage points?\b|(?:x|×|times) (?:the |as )"
    r"|% of the (?:runtime|words|reference))"
)
ALLOWED = (  # aims and limits, not measured
    "lose more than 0.3 points",
    "loses more than 0.3 points",
    "more than 0.3 points more wrong",
    "The aim was 6 points",
    "lose more than 1 point",
)


def typed_figures(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of every measured figure outside of quotes; the lines are those of the whole document."""
    blank = re.sub(
        r"<!-- figures: .*?<!-- /figures -->",
        lambda found: "\n" * found.group().count("\n"),
        text,
        flags=re.DOTALL,
    )
    for phrase in ALLOWED:
        blank = blank.replace(phrase, "")
    for number, line in enumerate(blank.splitlines(), 1):
        for found in MEASURED.finditer(line):
            yield number, found.group()


def test_a_typed_figure_is_named_with_its_line() -> None:
    text = (
        "It does 557 images/s,\n"
        "<!-- figures: raw table -->\n| 557 images/s |\n<!-- /figures -->\n"
        "or <!-- figures: raw best -->560 requests a second<!-- /figures -->, at most 64 images a request;\n"
        "a loss of 0.4 dB, and 1.7 points or 2.5 x the reference.\n"
    )
    assert [(line, found.strip()) for line, found in typed_figures(text)] == [
        (1, "557 images/s"),
        (6, "0.4 dB"),
        (6, "1.7 points"),
        (6, "2.5 x the"),
    ]


@pytest.mark.parametrize("name", FIGURES)
def test_no_document_types_a_figure(name: str) -> None:
    found = [f"{name}:{line}: {figure}" for line, figure in typed_figures((REPOSITORY / name).read_text())]
    assert not found, "quote a report (bench/harness/quotes.py):\n" + "\n".join(found)


def test_the_documents_of_the_rule_exist() -> None:
    assert {ROOT / name for name in FIGURES} <= set(documents())


def test_the_table_of_the_recipe_has_the_means_of_its_report() -> None:
    with (REPORTS / "ablation.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    table = [line.split(" | ")[-3:] for line in text.partition("| | PSNR, dB |")[2].splitlines()[2:]][: len(rows)]
    for row, shown in zip(rows, table, strict=True):
        means = [mean(100 * float(v) for k, v in row.items() if k.endswith(name)) for name in READER_NAMES]
        assert [cell.strip(" |") for cell in shown] == [f"{value:.1f}" for value in means]


def test_the_table_of_words_by_pairs_is_that_of_its_report() -> None:
    with (REPORTS / "words-by-pairs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    table = text.partition("| | pairs | PP-OCRv6 |")[2].splitlines()[2:][: len(rows)]
    for row, shown in zip(rows, table, strict=True):
        found = ["{:+.1f} ± {:.1f}".format(*map(float, row[reader].split())) for reader in READER_NAMES]
        assert [cell.strip() for cell in shown.strip("|").split("|")[1:]] == [f"{int(row['pairs']):,}", *found]
