"""Reports: the names in them, and which of them `python -m bench all` keeps."""

import json
from pathlib import Path

import pytest

from bench.__main__ import finished
from bench.harness.report import Report, Table


def test_a_table_and_a_fact_of_one_name_are_refused() -> None:
    report = Report({}, {"workers": Table("a title", [""], [])}, {"workers": "27 workers"})
    with pytest.raises(AssertionError, match="share a name"):
        report.quotes()


@pytest.mark.parametrize(
    ("command", "commit", "kept"),
    [
        ("python -m bench ocr --quick --data crops", "c1", True),
        ("python -m bench ocr --quick --data crops --limit 3", "c1", False),
        ("python -m bench ocr --data crops", "c1", False),
        ("python -m bench ocr --quick --data crops", "c0", False),
        ("python -m bench ocr --quick --data crops", "c1-changed", False),
    ],
)
def test_a_report_is_kept_if_the_same_command_of_this_code_made_it(
    command: str, commit: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.__main__.git_commit", lambda: commit if commit == "c1-changed" else "c1")
    (tmp_path / "ocr.json").write_text(json.dumps({"command": command, "git_commit": commit}))
    assert finished(tmp_path / "ocr.json", ["--quick", "--data", "examples/crops"]) is kept
    assert not finished(tmp_path / "raw.json", ["--quick"])
