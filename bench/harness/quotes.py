"""The figures in README.md and docs/: copied from the reports in docs/reports, never typed.

    <!-- figures: raw best -->557<!-- /figures -->          a fact, within a sentence
    <!-- figures: raw throughput -->                        a table, on lines of its own
    | ... |
    <!-- /figures -->

The first word is the report, the second one of its quotes; every report also has `machine` and
`source`: its command, day and machine. `tests/bench/test_quotes.py` compares the documents with the reports.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPORTS, IMAGES = ROOT / "docs" / "reports", ROOT / "docs" / "images"
_QUOTE = re.compile(r"<!-- figures: (\S+) (\S+) -->(.*?)<!-- /figures -->", re.DOTALL)


def documents() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").glob("*.md"))


@cache
def quotes(reports: Path, name: str) -> dict[str, str]:
    """Name -> text of every quote of a report."""
    content = json.loads((reports / f"{name}.json").read_text(encoding="utf-8"))
    source = f"`{content['command']}`, {content['created_at'][:10]}, {content['machine']}"
    return {"source": source, "machine": content["machine"], **content["quotes"]}


def renewed(text: str, reports: Path = REPORTS) -> str:
    """The document with every quote as the reports have it. Raises KeyError for one that no report has."""

    def put(found: re.Match[str]) -> str:
        report, name, before = found.groups()
        known = quotes(reports, report)
        if name not in known:
            raise KeyError(f"docs/reports/{report}.json has no quote {name!r}; it has {', '.join(known)}")
        value = f"\n{known[name]}\n" if before.startswith("\n") else known[name]
        return f"<!-- figures: {report} {name} -->{value}<!-- /figures -->"

    return _QUOTE.sub(put, text)


def outside(text: str) -> str:
    """The document without its quotes."""
    return _QUOTE.sub("", text)


def publish(folder: Path) -> None:
    """Copy the reports and charts of a folder to docs/, and renew every document. Quick reports are refused."""
    for path in sorted(folder.glob("*.json")):
        if json.loads(path.read_text(encoding="utf-8"))["quick"]:
            raise SystemExit(f"{path} is of a quick run, whose figures mean nothing; run it without --quick.")
        for ending in (".json", ".md"):
            shutil.copy(path.with_suffix(ending), REPORTS)
    for chart in folder.glob("*.svg"):
        shutil.copy(chart, IMAGES)
    for document in documents():
        document.write_text(renewed(document.read_text(encoding="utf-8")), encoding="utf-8")
