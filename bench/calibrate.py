"""Learns for `mode=auto` which crops a model helps to read, and writes it beside the model.

    python -m bench calibrate --model tbsrn:1 --data crops/ --out calibration

    words -> small crops of every subset -> plain | super-resolved -> each recogniser reads both
          -> for each, and for all together, the rule that gains most and harms nowhere
          -> model_store/tbsrn/calibration-1.json, curve.svg

Use other words than those that `python -m bench ocr` reports on, and other than the model was trained on. The
service loads the file at its next start, and refuses it for other weights than it was made for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from app.errors import ServiceError
from app.judge import ANY, SCHEMA_VERSION, Calibration, Rule, calibration_path
from bench.calibrate_chart import curve_chart, told
from bench.calibrate_fit import Chosen, Samples, cross_validated, curve, fit, gain
from bench.ocr import add_data, command, known_subsets
from bench.ocr_data import words
from bench.ocr_measure import Measured, make_pictures, read_all
from bench.subject import Subject, add_subject, open_subject
from model_store.errors import ModelStoreError
from training.errors import TrainingError
from training.ocr import TextReader, open_readers
from training.record import machine
from training.run_state import git_commit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    add_data(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for readings and curve.svg")
    parser.add_argument("--dry-run", action="store_true", help="leave the model store as it is")


def run(args: argparse.Namespace) -> None:
    """Measure, fit, print, write."""
    try:
        subject, report = calibrate(args)
    except (ServiceError, ModelStoreError, TrainingError) as error:
        sys.exit(f"calibrate: {error}")
    except KeyboardInterrupt:
        sys.exit(f"interrupted; what was read is kept in {args.out}, the same command goes on")
    (args.out / "curve.svg").write_text(curve_chart(report), encoding="utf-8")
    target = args.out / "calibration.json"
    if subject.artefact and not args.dry_run:
        target = calibration_path(subject.artefact)
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(summary(report))
    print(f"\n{target}, {args.out / 'curve.svg'}")


def calibrate(args: argparse.Namespace) -> tuple[Subject, dict[str, Any]]:
    cv2.setNumThreads(1)
    readers = open_readers(args.readers.split(","))
    subsets = known_subsets(args.subsets)
    chosen = words(args.data, limit=args.limit)
    subject = open_subject(args, calibrated=False)  # whatever is there already is to be replaced
    try:
        measured = make_pictures(subject, chosen, subsets, seed=args.seed, out=args.out)
    finally:
        subject.predictor.close()
    read_all(measured, readers, ("plain", "always"), out=args.out)
    samples = gather(measured, readers)
    rules = {ANY: fit(samples)} | {reader.name: fit(samples.of_reader(reader.name)) for reader in readers}
    return subject, {
        "schema_version": SCHEMA_VERSION,
        "model": subject.name,
        "digest": subject.sha256,
        "rules": Calibration(rules).as_json(),
        "command": command(),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "git_commit": git_commit(),
        "data": {"path": args.data.name, "words": len(chosen), "limit": args.limit, "seed": args.seed},
        "subsets": subsets,
        "recognisers": {reader.name: reader.version for reader in readers},
        "super_resolved": {name: round(float(samples.chosen(rule).mean()), 4) for name, rule in rules.items()},
        "points_over_plain": points(samples, rules),
        "curve": curve(samples),
    }


def points(samples: Samples, rules: Mapping[str, Rule]) -> dict[str, dict[str, dict[str, float]]]:
    """What is gained by super-resolving -> by whom -> points and their standard error."""
    alone = {name: samples.of_reader(name) for name in samples.gains}

    def each(chosen: Callable[[str, Samples], Chosen]) -> dict[str, dict[str, float]]:
        return {name: gain(only, chosen(name, only))[name] for name, only in alone.items()}

    return {
        "always": gain(samples, np.ones_like(samples.blur, bool)),
        "any": gain(samples, samples.chosen(rules[ANY])),
        "named": each(lambda name, only: only.chosen(rules[name])),
        "named_cross_validated": each(lambda _, only: cross_validated(only)),
    }


def gather(measured: Sequence[Measured], readers: Sequence[TextReader]) -> Samples:
    def joined(reader: str) -> np.ndarray:
        return np.stack(
            [part.right(reader, "always").astype(float) - part.right(reader, "plain") for part in measured]
        )

    estimates = [part.estimates for part in measured]
    return Samples(
        blur=np.array([[found.blur for found in row] for row in estimates]),
        noise=np.array([[found.noise for found in row] for row in estimates]),
        gains={reader.name: joined(reader.name) for reader in readers},
    )


def summary(report: dict[str, Any]) -> str:
    share = report["super_resolved"]
    lines = [
        f"{report['model']}: what is super-resolved, and the share of these crops",
        *(f"  {name}: {told(rule)}, {100 * share[name]:.0f} %" for name, rule in report["rules"].items()),
        "",
        "| points over the plain crop | " + " | ".join(report["points_over_plain"]) + " |",
        "|---|---|---|---|---|",
    ]
    for reader in report["recognisers"]:
        cells = (
            f"{g[reader]['points']:+.2f} ± {1.96 * g[reader]['error']:.2f}"
            for g in report["points_over_plain"].values()
        )
        lines.append(f"| {reader} | {' | '.join(cells)} |")
    return "\n".join(lines)
