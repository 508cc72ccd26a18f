"""Does it help OCR? Words read from small crops as they are, enlarged, and through Text Telescope.

    python -m bench ocr --data word_crops_val.tar --out ocr
    python -m bench ocr --data crops/ --weights last.safetensors --readers rapidocr-v6 --limit 50 --out ocr

    plain     the crop itself, which the recogniser brings to its own height
    bicubic   enlarged x2 without the network, as the service does
    always    mode=always: every crop through the network
    auto      mode=auto: where the model's calibration says that it helps whoever reads, else enlarged
    named     recogniser=...: where it says that it helps the one who reads, else the crop as it was

Words count as read when letters and digits are all right, case apart; CER is edits over characters. Rates carry
Wilson's 95 % interval, differences from plain one that resamples words. Writes report.json, table.md and
chart.svg; the same command after an interruption goes on.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from app.errors import ServiceError
from bench.ocr_chart import chart
from bench.ocr_data import SUBSETS, words
from bench.ocr_measure import PICTURES, VARIANTS, Measured, choose_texts, make_pictures, read_all
from bench.paired import difference
from bench.subject import add_subject, open_subject
from model_store.errors import ModelStoreError
from training.data.crops import SEED
from training.errors import TrainingError
from training.metrics import text_figures
from training.ocr import READERS, open_readers
from training.record import machine
from training.run_state import git_commit
from training.versions import versions

OVERALL = "all"
LIBRARIES = ("numpy", "cv2", "PIL", "openvino", "onnxruntime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    add_data(parser)
    parser.add_argument("--calibration", type=Path, help="instead of the one beside the model")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report, table and chart")


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder or tar with labels.tsv")
    parser.add_argument("--readers", default=",".join(READERS), help="by comma (default: %(default)s)")
    parser.add_argument("--subsets", default=",".join(SUBSETS), help="by comma (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="only the first so many crops")
    parser.add_argument("--seed", type=int, default=SEED, help="of the degradation (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Measure, print the table, write the report."""
    try:
        report = measure(args)
    except (ServiceError, ModelStoreError, TrainingError) as error:
        sys.exit(f"ocr: {error}")
    except KeyboardInterrupt:
        sys.exit(f"interrupted; what was read is kept in {args.out}, the same command goes on")
    table = markdown(report)
    (args.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (args.out / "table.md").write_text(table + "\n", encoding="utf-8")
    (args.out / "chart.svg").write_text(chart(report), encoding="utf-8")
    print(table)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    cv2.setNumThreads(1)
    readers = open_readers(args.readers.split(","))
    subset_names = known_subsets(args.subsets)
    chosen = words(args.data, limit=args.limit)
    subject = open_subject(args)
    try:
        measured = make_pictures(subject, chosen, subset_names, seed=args.seed, out=args.out)
    finally:
        subject.predictor.close()
    read_all(measured, readers, PICTURES, out=args.out)
    choose_texts(measured)
    calibration = subject.judge.calibration
    return {
        "command": command(),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "model": {
            "name": subject.name,
            "sha256": subject.sha256,
            "calibration": calibration and calibration.as_json(),
        },
        "data": {"path": args.data.name, "words": len(chosen), "limit": args.limit, "seed": args.seed},
        "subsets": {name: SUBSETS[name][0] for name in subset_names},
        "decisions": {
            part.name: {who: Counter(d.reason for d in made) for who, made in part.decisions.items()}
            for part in measured
        },
        "recognisers": {reader.name: reader.version for reader in readers},
        "figures": {reader.name: figures(measured, reader.name) for reader in readers},
        "libraries": versions(LIBRARIES),
        "machine": machine(),
    }


def command() -> str:
    """As it was given, paths by their last part: reports travel, folders do not."""
    return "python -m bench " + shlex.join(Path(word).name if "/" in word else word for word in sys.argv[1:])


def known_subsets(names: str) -> list[str]:
    chosen = names.split(",")
    for name in chosen:
        if name not in SUBSETS:
            raise TrainingError(f"there is no subset {name!r}; known are {', '.join(SUBSETS)}")
    return chosen


def figures(measured: Sequence[Measured], reader: str) -> dict[str, dict[str, Any]]:
    """subset, OVERALL too -> variant -> what `text_figures` says, and `over_plain` for all but plain."""
    groups = {part.name: [part] for part in measured} | {OVERALL: list(measured)}
    return {name: {v: _figures(group, reader, v) for v in VARIANTS} for name, group in groups.items()}


def _figures(group: Sequence[Measured], reader: str, variant: str) -> dict[str, Any]:
    texts = [text for part in group for text in part.texts[reader][variant]]
    found: dict[str, Any] = asdict(text_figures(texts, [label for part in group for label in part.labels]))
    if variant != "plain":
        before, after = (np.stack([p.right(reader, v) for p in group]) for v in ("plain", variant))
        found["over_plain"] = asdict(difference(before, after))
    return found


def markdown(report: dict[str, Any]) -> str:
    """All subsets together, a row for each recogniser; then a table for each, a row for every subset."""
    data = report["data"]
    lines = [
        f"{report['model']['name']}, {data['words']} words of {data['path']} in {len(report['subsets'])} subsets",
        "",
        f"| words read, % (95 %) | {' | '.join(VARIANTS)} |",
        "|" + "---|" * (len(VARIANTS) + 1),
    ]
    for reader, subsets in report["figures"].items():
        lines.append(f"| {reader} | {' | '.join(_cell(subsets[OVERALL][v]) for v in VARIANTS)} |")
    for reader, subsets in report["figures"].items():
        lines += [
            "",
            f"**{reader} {report['recognisers'][reader]}**",
            "",
            f"| words read, % (95 %) | {' | '.join(VARIANTS)} | CER, % ({', '.join(VARIANTS)}) |",
            "|" + "---|" * (len(VARIANTS) + 2),
        ]
        for subset, row in subsets.items():
            errors = ", ".join(f"{100 * row[variant]['character_error_rate']:.1f}" for variant in VARIANTS)
            lines.append(f"| {subset} | {' | '.join(_cell(row[v]) for v in VARIANTS)} | {errors} |")
    return "\n".join(lines)


def _cell(found: dict[str, Any]) -> str:
    rate = f"{100 * found['accuracy']:.1f}"
    if "over_plain" not in found:
        return f"{rate} ({100 * found['low']:.1f}-{100 * found['high']:.1f})"
    change = found["over_plain"]
    return f"{rate}: {change['points']:+.1f} ({change['low']:+.1f} to {change['high']:+.1f})"
