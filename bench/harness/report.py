"""A benchmark's result: figures as JSON, tables as Markdown, and short facts that documents quote.

report = Report(figures, tables={"latency": Table(...)}, facts={"best": "557"}, charts={"raw": figure})
write(report, folder, name="raw", ...)      -> raw.json, raw.md, raw.svg
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.record import machine as processor
from training.run_state import git_commit
from training.versions import versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIBRARIES = ("numpy", "cv2", "PIL", "openvino", "onnxruntime", "paddle")
EXTENSIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 with bf16", "avx512f": "AVX-512", "avx2": "AVX2"}


@dataclass(frozen=True)
class Table:
    """title: a sentence or its part, for the report. rows: text of each cell."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


@dataclass
class Report:
    """facts: figures with units, for sentences. charts: file name without ending -> figure."""

    figures: dict[str, Any]
    tables: dict[str, Table] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    charts: dict[str, Figure] = field(default_factory=dict)

    def quotes(self) -> dict[str, str]:
        assert not (both := self.tables.keys() & self.facts.keys()), f"a table and a fact share a name: {both}"
        return {name: table.markdown() for name, table in self.tables.items()} | self.facts


def about() -> dict[str, Any]:
    """The circumstances of a measurement; call it before measuring, as it notes the load of the machine."""
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 2),
        "libraries": versions(LIBRARIES),
    }


def machine() -> str:
    """Processor, the instruction set that matters for inference, cores of this process, Python."""
    model, _, rest = processor().partition(", ")
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text(encoding="utf-8", errors="replace").split()) if info.exists() else set()
    extension = next((f" ({name})" for flag, name in EXTENSIONS.items() if flag in flags), "")
    return f"{model}{extension}, {rest}"


def write(report: Report, folder: Path, *, name: str, command: str, quick: bool, about: Mapping[str, Any]) -> None:
    """Write name.json, name.md and the charts, each complete or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "benchmark": name,
        "command": command,
        "quick": quick,
        **about,
        "quotes": report.quotes(),
        "figures": _json(report.figures),
    }
    for chart, figure in report.charts.items():
        figure.savefig(folder / f"{chart}.svg", metadata={"Date": None})
    _put(folder / f"{name}.md", markdown(report, content))
    _put(folder / f"{name}.json", json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def markdown(report: Report, content: Mapping[str, Any]) -> str:
    day = content["created_at"][:10]
    lines = [f"# {content['benchmark']}", "", f"`{content['command']}`, {day}, {content['machine']}"]
    for table in report.tables.values():
        lines += ["", f"**{table.title}**", "", table.markdown()]
    if report.facts:
        lines += ["", *(f"- {name}: {fact}" for name, fact in report.facts.items())]
    return "\n".join(lines) + "\n"


def _put(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _json(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Floats get six significant digits; infinities and NaN become null."""
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
