"""Measures OCR with and without Text Telescope: words read from plain crops, and from crops that it returns.

    python -m bench ocr --data word_crops_val.tar --out proof
    python -m bench ocr --data crops/ --weights last.safetensors --readers rapidocr-v6 --limit 50 --out proof

    plain     the crop itself, which the recogniser resizes to its own height
    always    mode=always: every crop through the network
    auto      the default: super-resolved if the calibration says that every recogniser gains, else enlarged
    named     recogniser=...: super-resolved if the calibration says that this recogniser gains, else plain
    second    second opinion: plain; where the recogniser is unsure, super-resolved, and the surer reading

Every word of the proof half is read in every cell: six heights times five blurs, with noise or JPEG. A word counts
as read if all its letters and digits are right; case and punctuation do not count. Rates carry Wilson's 95 %
interval; differences from plain carry an interval from resampled words. The command writes report.json, table.md
and chart.svg. After an interruption the same command goes on with the readings in --out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from app.errors import ServiceError
from bench.ocr_chart import chart
from bench.ocr_measure import VARIANTS, Measured, measure_cell
from bench.paired import difference
from bench.subject import open_subject
from model_store.errors import ModelStoreError
from training.calibration.cells import BLURS, CELLS, HEIGHTS, Cell, add_data, words
from training.calibration.command import typed_command
from training.calibration.network import add_network
from training.calibration.readers import shared_readers
from training.errors import TrainingError
from training.metrics import wilson_interval
from training.ocr import READERS
from training.readings import Readings
from training.record import machine
from training.run_state import git_commit
from training.versions import versions

LIBRARIES = ("numpy", "cv2", "PIL", "openvino", "onnxruntime")
GROUPS: dict[str, Callable[[Cell], bool]] = {
    "blurred": lambda cell: cell.is_blurred,  # a blur of .05 of the height and more, 24 px and higher
    "all": lambda cell: True,
}
BANDS: dict[str, Callable[[Cell], bool]] = {  # reported, but not in the table
    **{f"{height} px": partial(lambda height, cell: cell.height == height, height) for height in HEIGHTS},
    **{f"blur {blur:g}": partial(lambda blur, cell: cell.blur == blur, blur) for blur in BLURS},
}
HARM, MANY = 0.3, 200  # points that a subset of MANY words and more should not lose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_network(parser)
    add_data(parser)
    parser.add_argument("--readers", default=",".join(READERS), help="by comma (default: %(default)s)")
    parser.add_argument("--calibration", type=Path, help="instead of the one beside the model")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report, table and chart")


def run(args: argparse.Namespace) -> None:
    """Measure, print the table, write the report."""
    try:
        report = measure(args)
    except (ServiceError, ModelStoreError, TrainingError) as error:
        sys.exit(f"ocr: {error}")
    except KeyboardInterrupt:
        sys.exit(f"interrupted; {args.out} keeps the readings, and the same command goes on")
    table = markdown(report)
    (args.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (args.out / "table.md").write_text(table + "\n", encoding="utf-8")
    (args.out / "chart.svg").write_text(chart(report), encoding="utf-8")
    print(table)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    cv2.setNumThreads(1)
    scripts = args.scripts.split(",")
    chosen = {script: words(args.data, "proof", scripts=[script], limit=args.limit) for script in scripts}
    subject = open_subject(args)
    measured: list[Measured] = []
    try:
        with (
            shared_readers(args.readers.split(","), scripts) as readers,
            Readings(args.out / "readings.jsonl") as readings,
            tqdm(total=len(CELLS) * len(scripts), desc="ocr", unit="cell", disable=None) as bar,
        ):
            recognisers = {name: reader.version for name, reader in readers.items()}
            for script in scripts:
                for cell in CELLS:
                    part = measure_cell(subject, chosen[script], cell, readers, readings, seed=args.seed)
                    measured.append(part)
                    bar.update()
    finally:
        subject.predictor.close()
    calibration = subject.gate.calibration
    return {
        "command": typed_command("bench"),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "model": {
            "name": subject.name,
            "sha256": subject.sha256,
            "precision": subject.predictor.precision,
            "calibration": calibration and calibration.as_json(),
            "second_opinions": {name: asdict(limits) for name, limits in subject.gate.second_opinions.items()},
        },
        "data": {
            "path": args.data.name,
            "words": {script: len(found) for script, found in chosen.items()},
            "limit": args.limit,
            "seed": args.seed,
        },
        "recognisers": recognisers,
        "figures": {name: figures(measured, name) for name in recognisers},
        "reasons": {script: reasons([part for part in measured if part.script == script]) for script in scripts},
        "libraries": versions(LIBRARIES),
        "machine": machine(),
    }


def figures(measured: Sequence[Measured], reader: str) -> dict[str, dict[str, dict[str, Any]]]:
    """script -> cell or group of GROUPS -> variant -> accuracy, and `over_plain` for every variant but plain."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for script in dict.fromkeys(part.script for part in measured):
        own = [part for part in measured if part.script == script]
        groups = {part.cell.name: [part] for part in own}
        groups |= {name: [part for part in own if wanted(part.cell)] for name, wanted in (GROUPS | BANDS).items()}
        found[script] = {
            name: {variant: _figures(group, reader, variant) for variant in VARIANTS}
            for name, group in groups.items()
        }
    return found


def _figures(group: Sequence[Measured], reader: str, variant: str) -> dict[str, Any]:
    right = np.stack([part.right[reader][variant] for part in group])  # (cells, words)
    low, high = wilson_interval(int(right.sum()), right.size)
    found: dict[str, Any] = {"words": right.size, "accuracy": float(right.mean()), "low": low, "high": high}
    if variant == "second":
        found["sent"] = float(np.mean([part.sent[reader] for part in group]))
        found["kept"] = float(np.mean([part.kept[reader] for part in group]))
    if variant != "plain":
        before = np.stack([part.right[reader]["plain"] for part in group])
        found["over_plain"] = asdict(difference(before, right))
    return found


def reasons(measured: Sequence[Measured]) -> dict[str, dict[str, int]]:
    """Policy ("auto", or a recogniser by name) -> number of crops for each reason."""
    total: dict[str, Counter[str]] = {}
    for part in measured:
        for policy, counted in part.reasons.items():
            total.setdefault(policy, Counter()).update(counted)
    return {policy: dict(counted) for policy, counted in total.items()}


def markdown(report: dict[str, Any]) -> str:
    """A table of groups with a row for each recogniser and script, then a table of cells for each row."""
    counts = ", ".join(f"{count} {script}" for script, count in report["data"]["words"].items())
    head = f"| words read, % (95 %) | {' | '.join(VARIANTS)} |"
    rule = "|" + "---|" * (len(VARIANTS) + 1)
    about = (report["model"]["name"], report["model"]["precision"], report["machine"])
    lines = [f"{' · '.join(about)} · {counts} words of {report['data']['path']} in {len(CELLS)} cells"]
    for group in GROUPS:
        lines += ["", f"**{group}**", "", head, rule]
        for reader, scripts in report["figures"].items():
            for script, found in scripts.items():
                lines.append(_row(f"{reader}, {script}", found[group]))
    lines += ["", "**second opinions, all cells**", "", *second_opinions(report)]
    for reader, scripts in report["figures"].items():
        for script, found in scripts.items():
            lines += ["", f"**{reader} {report['recognisers'][reader]}, {script}**", "", head, rule]
            lines += [_row(cell.name, found[cell.name]) for cell in CELLS]
    return "\n".join(lines)


def second_opinions(report: dict[str, Any]) -> Iterator[str]:
    """A table of gains and requests, and a list of the subsets that lose words."""
    yield "| | words read, % | points over plain | crops sent, % | second reading kept, % of the sent |"
    yield "|---|---|---|---|---|"
    for reader, scripts in report["figures"].items():
        for script, found in scripts.items():
            own, change = found["all"]["second"], found["all"]["second"]["over_plain"]
            kept = own["kept"] / own["sent"] if own["sent"] else 0
            yield (
                f"| {reader}, {script} | {100 * own['accuracy']:.1f} | {change['points']:+.1f} "
                f"({change['low']:+.1f} to {change['high']:+.1f}) | {100 * own['sent']:.0f} | {100 * kept:.0f} |"
            )
    subsets = list(_subsets(report))
    losing = [f"{name}: {points:+.1f}" for name, points in subsets if points < -HARM]
    yield ""
    yield (
        f"Of {len(subsets)} subsets of {MANY} words and more (each recogniser and script in all cells, in each "
        f"cell, at each height and at each blur) {len(losing)} lose more than {HARM} points"
        + (f": {'; '.join(losing)}." if losing else ".")
    )


def _subsets(report: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Name and points over plain of each subset of MANY words and more."""
    for reader, scripts in report["figures"].items():
        for script, found in scripts.items():
            for group, variants in found.items():
                if variants["second"]["words"] >= MANY:
                    yield f"{reader}, {script}, {group}", variants["second"]["over_plain"]["points"]


def _row(name: str, found: dict[str, Any]) -> str:
    return f"| {name} | {' | '.join(_cell(found[variant]) for variant in VARIANTS)} |"


def _cell(found: dict[str, Any]) -> str:
    rate = f"{100 * found['accuracy']:.1f}"
    if "over_plain" not in found:
        return f"{rate} ({100 * found['low']:.1f}-{100 * found['high']:.1f})"
    change = found["over_plain"]
    return f"{rate}: {change['points']:+.1f} ({change['low']:+.1f} to {change['high']:+.1f})"
