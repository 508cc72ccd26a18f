"""Measures whole pages: detected, cut into lines and read, with and without Text Telescope.

    python -m bench pages --out proof
    python -m bench pages --readers rapidocr-v6 --limit 1 --out proof
    python -m bench pages --readers rapidocr-v6 --detector rapidocr --out alone     # lines as rapidocr finds them

    plain     PP-OCRv6 finds the lines of a page, and the recogniser reads each as it is
    named     recogniser=...: lines that this recogniser's rule calls blurred are super-resolved first
    second    second opinion: lines that the recogniser is unsure of are read again, super-resolved

Each page is rendered and degraded with known text (`bench/pages_maker.py`). The figure is the character error
rate: wrong, missing and added characters of a hundred, over all pages of a kind. Missed lines and text beside the
lines count. Changes carry 95 % intervals, from resampled pages. The command writes report.json, table.md and
chart.svg, the pages with their true lines, and in changes.jsonl each line that is read better or worse than plain.
After an interruption the same command goes on with the readings in --out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
from PIL import Image
from tqdm import tqdm

from app.errors import ServiceError
from bench.pages_chart import chart
from bench.pages_maker import KINDS, Page, make_pages
from bench.pages_measure import DETECTORS, VARIANTS, MeasuredPage, cer_change, measure_page
from bench.pages_texts import TEXTS
from bench.subject import open_subject
from model_store.errors import ModelStoreError
from training.calibration.command import typed_command
from training.calibration.network import add_network
from training.calibration.readers import READER_NAMES, shared_readers
from training.data.fonts import find_fonts
from training.errors import ConfigError, TrainingError
from training.ocr import READERS
from training.readings import Readings
from training.record import machine
from training.run_state import git_commit
from training.versions import versions

LIBRARIES = ("numpy", "cv2", "PIL", "openvino", "onnxruntime")
RESAMPLES = 2000
HARM = 0.3  # points of errors that no kind should gain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_network(parser)
    parser.add_argument("--readers", default=",".join(READERS), help="by comma (default: %(default)s)")
    parser.add_argument("--calibration", type=Path, help="instead of the one beside the model")
    parser.add_argument(
        "--detector",
        choices=DETECTORS,
        default="service",
        help="finds the lines: the service's, or the package rapidocr as it comes (default: %(default)s)",
    )
    parser.add_argument("--fonts", type=Path, help="folder of fonts (default: those installed)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="by comma (default: %(default)s)")
    parser.add_argument("--scripts", default=",".join(TEXTS), help="by comma (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="pages of each kind and script (default: all, 4 to 8)")
    parser.add_argument("--seed", type=int, default=2026, help="of the pages (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report, table, chart and pages")


def run(args: argparse.Namespace) -> None:
    """Measure, print the table, write the report."""
    try:
        report, changes = measure(args)
    except (ServiceError, ModelStoreError, TrainingError) as error:
        sys.exit(f"pages: {error}")
    except KeyboardInterrupt:
        sys.exit(f"interrupted; {args.out} keeps the readings, and the same command goes on")
    table = markdown(report)
    listed = "".join(json.dumps(change, ensure_ascii=False) + "\n" for change in changes)
    (args.out / "changes.jsonl").write_text(listed, encoding="utf-8")
    (args.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (args.out / "table.md").write_text(table + "\n", encoding="utf-8")
    (args.out / "chart.svg").write_text(chart(report), encoding="utf-8")
    print(table)


def measure(args: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report, and the lines whose errors changed."""
    cv2.setNumThreads(1)
    fonts = find_fonts(args.fonts)
    kinds, scripts = chosen(args.kinds, KINDS), chosen(args.scripts, TEXTS)
    detector = DETECTORS[args.detector]()
    subject = open_subject(args)
    total = len(scripts) * sum(min(KINDS[kind][1], args.limit or KINDS[kind][1]) for kind in kinds)
    measured, used = [], Counter[str]()
    try:
        with (
            shared_readers(args.readers.split(","), scripts) as readers,
            Readings(args.out / "readings.jsonl") as readings,
            tqdm(total=total, desc="pages", unit="page", disable=None) as bar,
        ):
            recognisers = {name: reader.version for name, reader in readers.items()}
            for page in make_pages(fonts, seed=args.seed, kinds=kinds, scripts=scripts, limit=args.limit):
                keep(page, args.out / "pages")
                used.update(page.fonts)
                measured.append(measure_page(subject, detector, page, readers, readings))
                bar.update()
    finally:
        subject.predictor.close()
    report = {
        "command": typed_command("bench"),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "model": {"name": subject.name, "sha256": subject.sha256, "precision": subject.predictor.precision},
        "detector": f"{args.detector}, {detector.version}",
        "recognisers": recognisers,
        "seed": args.seed,
        "fonts": dict(sorted(used.items())),
        "pages": [_counts(page) for page in measured],
        "figures": {name: figures(measured, name) for name in recognisers},
        "libraries": versions(LIBRARIES),
        "machine": machine(),
    }
    return report, list(_changes(measured))


def chosen(written: str, known: Collection[str]) -> list[str]:
    """Names by comma. Raises ConfigError for an unknown one."""
    names = written.split(",")
    for name in names:
        if name not in known:
            raise ConfigError(f"{name!r} is unknown; choose among {', '.join(known)}")
    return names


def keep(page: Page, folder: Path) -> None:
    """The page as PNG, with its true lines beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(page.rgb).save(folder / f"{page.name}.png")
    lines = [{"text": line.text, "box": line.quad.round(2).tolist()} for line in page.lines]
    (folder / f"{page.name}.json").write_text(json.dumps(lines, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _counts(page: MeasuredPage) -> dict[str, Any]:
    errors = {
        reader: {variant: side.errors.total for variant, side in sides.items()}
        for reader, sides in page.sides.items()
    }
    counts = ("name", "kind", "script", "lines", "characters", "boxes", "missed", "beside")
    return {name: getattr(page, name) for name in counts} | {"errors": errors}


def _changes(measured: Sequence[MeasuredPage]) -> Iterator[dict[str, Any]]:
    for page in measured:
        for reader, sides in page.sides.items():
            for variant, side in sides.items():
                yield from ({"reader": reader, "variant": variant, **change} for change in side.changes)


def figures(measured: Sequence[MeasuredPage], reader: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Kind or "all" -> script or "both" -> the figures of each variant."""
    kinds = [*dict.fromkeys(page.kind for page in measured), "all"]
    scripts = [*dict.fromkeys(page.script for page in measured), "both"]
    return {
        kind: {
            script: _figures(
                [page for page in measured if kind in (page.kind, "all") and script in (page.script, "both")],
                reader,
            )
            for script in scripts
        }
        for kind in kinds
    }


def _figures(pages: Sequence[MeasuredPage], reader: str) -> dict[str, Any]:
    characters, boxes = sum(page.characters for page in pages), sum(page.boxes for page in pages)
    counts = ("lines", "characters", "boxes", "missed", "beside")
    found: dict[str, Any] = {"pages": len(pages)}
    found |= {name: sum(getattr(page, name) for page in pages) for name in counts}
    plain = sum(page.sides[reader]["plain"].errors.total for page in pages)
    for variant in VARIANTS:
        sides = [page.sides[reader][variant] for page in pages]
        errors = sum(side.errors.total for side in sides)
        found[variant] = {"cer": 100 * errors / characters}
        if variant != "plain":
            low, high = cer_change(pages, reader, variant, resamples=RESAMPLES)
            found[variant] |= {
                "change": 100 * (errors - plain) / characters,
                "low": low,
                "high": high,
                "sent": sum(side.sent for side in sides) / max(1, boxes),
                "kept": sum(side.kept for side in sides) / max(1, boxes),
                "better": _changed(sides, better=True),
                "worse": _changed(sides, better=False),
            }
    return found


def _changed(sides: Sequence[Any], *, better: bool) -> int:
    """Lines read with fewer errors than plain, or with more."""
    changes = [change["errors"] for side in sides for change in side.changes]
    return sum((after < before) == better for before, after in changes)


def markdown(report: dict[str, Any]) -> str:
    """A table of kinds for each recogniser, then the kinds that lose more than HARM."""
    pages = report["pages"]
    lines = [
        f"{report['model']['name']} · {report['model']['precision']} · {report['machine']} · {len(pages)} pages, "
        f"{sum(page['lines'] for page in pages)} lines, {sum(page['missed'] for page in pages)} of them not "
        f"detected, {sum(page['beside'] for page in pages)} boxes beside a line"
    ]
    for reader, kinds in report["figures"].items():
        version = report["recognisers"][reader]
        lines += ["", f"**{READER_NAMES.get(reader, reader)}** ({version}): wrong characters of 100", ""]
        lines += ["| | lines | plain | named | sent, % | second opinion | sent, % | lines better, worse |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for kind, scripts in kinds.items():
            lines += [_row(f"{kind}, {script}", found) for script, found in scripts.items()]
    lines += ["", judgement(report)]
    return "\n".join(lines)


def _row(name: str, found: dict[str, Any]) -> str:
    named, second = found["named"], found["second"]
    return (
        f"| {name} | {found['lines']} | {found['plain']['cer']:.2f} | {_change(named)} "
        f"| {100 * named['sent']:.0f} | {_change(second)} | {100 * second['sent']:.0f} "
        f"| {second['better']}, {second['worse']} |"
    )


def _change(found: dict[str, Any]) -> str:
    return f"{found['cer']:.2f}: {found['change']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"


def judgement(report: dict[str, Any]) -> str:
    """Which kinds are read worse than plain by more than HARM, and which better."""
    found = [
        (f"{READER_NAMES.get(reader, reader)}, {variant}, {kind}, {script}", figures[variant]["change"])
        for reader, kinds in report["figures"].items()
        for kind, scripts in kinds.items()
        for script, figures in scripts.items()
        if kind != "all" and script != "both"
        for variant in VARIANTS[1:]
    ]
    losing = [f"{name}: {change:+.2f}" for name, change in found if change > HARM]
    gaining = sum(change < 0 for _, change in found)
    return (
        f"Of {len(found)} (each recogniser, variant, kind and script) {gaining} have fewer wrong characters than "
        f"plain, and {len(losing)} have more by over {HARM} points"
        + (f": {'; '.join(losing)}." if losing else ".")
    )
