"""Learns which crops a model helps which recogniser to read, and how, and writes it beside the model.

    python -m bench calibrate --model tbsrn --data word_crops_val.tar --out calibration

    words of the calibration half -> crops at random heights and blurs -> plain | each treatment -> each recogniser
          -> for each, and for all together, the rule that gains most and harms nowhere
          -> model_store/tbsrn/calibration-3.json, curve.svg

A treatment is a blur that the working scale brings the crop to, and a share of the network's picture in the
answer. `python -m bench ocr` reports on the other half of the words; the model should have been trained on
neither. The service loads the file at its next start, and refuses it for other weights than it was made for.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from app.bulk.in_process import InProcess
from app.errors import ServiceError
from app.imaging.quality_gate import QualityGate, RoutingPolicy
from app.serving.pipeline import Planner, mixed
from bench.calibrate_chart import curve_chart
from bench.calibrate_fit import STRENGTHS, TARGETS, Floats, Samples, Treatment, cross_validated, curve, fit, gain
from bench.crops import CELLS, SCRIPTS, Cell, Word, add_data, crop, words
from bench.ocr import command
from bench.readers import SharedReader, is_read, shared_readers
from bench.subject import Subject, add_subject, open_subject
from model_store import tiling
from model_store.blur import Estimate, estimate
from model_store.calibration import ANY, SCHEMA_VERSION, Calibration, Rule, calibration_path
from model_store.errors import ModelStoreError
from model_store.pixels import Rgb
from training.data.crops import sample_seed
from training.errors import TrainingError
from training.ocr import READERS
from training.readings import Readings
from training.record import machine
from training.run_state import git_commit

DRAWS = 12  # crops of each word
CHUNK = 48  # crops whose pictures are held at once
PLAIN: Treatment = (0.0, 0.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    add_data(parser)
    parser.add_argument("--readers", default=",".join(READERS), help="by comma (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=DRAWS, help="crops of each word (default: %(default)s)")
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
    scripts = args.scripts.split(",")
    chosen = words(args.data, "calibration", scripts=scripts, limit=args.limit)
    subject = open_subject(args, calibrated=False)  # an earlier calibration is to be replaced
    try:
        with (
            shared_readers(args.readers.split(","), scripts) as readers,
            Readings(args.out / "readings.jsonl") as readings,
        ):
            samples = gather(subject, chosen, readers, readings, draws=args.draws, seed=args.seed)
            versions = {name: reader.version for name, reader in readers.items()}
    finally:
        subject.predictor.close()
    rules = {ANY: fit(samples)} | {name: fit(samples.of_readers(name)) for name in versions}
    return subject, {
        "schema_version": SCHEMA_VERSION,
        "model": subject.name,
        "digest": subject.sha256,
        "rules": Calibration(rules).as_json(),
        "command": command(),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "precision": subject.predictor.precision,
        "git_commit": git_commit(),
        "data": {
            "path": args.data.name,
            "words": {script: sum(word.script == script for word in chosen) for script in scripts},
            "crops": len(samples.word),
            "limit": args.limit,
            "seed": args.seed,
        },
        "recognisers": versions,
        "super_resolved": {name: round(float(samples.chosen(rule).mean()), 4) for name, rule in rules.items()},
        "points_over_plain": points(samples, rules),
        "curve": curve(samples, rules),
    }


def points(samples: Samples, rules: Mapping[str, Rule]) -> dict[str, dict[str, dict[str, float]]]:
    """What is gained by super-resolving -> by which recogniser -> points and their standard error."""

    def by(choose: Mapping[str, Rule]) -> dict[str, dict[str, float]]:
        gained = {
            name: np.zeros(len(samples.word)) if rule.never else samples.gained(name, rule)
            for name, rule in choose.items()
        }
        return gain(gained, samples.word)

    names = list(samples.gains)
    always = Rule(min_blur=0, max_noise=math.inf, target_blur=TARGETS[1], strength=1)
    left_out = {name: cross_validated(samples.of_readers(name))[0][name] for name in names}
    return {
        "always": by(dict.fromkeys(names, always)),
        "any": by(dict.fromkeys(names, rules[ANY])),
        "named": by({name: rules[name] for name in names}),
        "named_cross_validated": gain(left_out, samples.word),
    }


def gather(
    subject: Subject,
    chosen: Sequence[Word],
    readers: Mapping[str, SharedReader],
    readings: Readings,
    *,
    draws: int,
    seed: int,
) -> Samples:
    """Every word `draws` times, each time in another cell; read as it is and after each treatment."""
    drawn = [
        (number, word, cell)
        for number, word in enumerate(chosen)
        for cell in _cells(word, draws=min(draws, len(CELLS)), seed=seed)
    ]
    seen: list[tuple[float, float]] = []
    right: dict[str, dict[Treatment, list[bool]]] = {name: {} for name in readers}
    treatments = _Treatments(subject)
    with tqdm(total=len(drawn), desc="calibrate", unit="crop", disable=None) as bar:
        for script in SCRIPTS:
            own = [entry for entry in drawn if entry[1].script == script]
            for first in range(0, len(own), CHUNK):
                chunk = own[first : first + CHUNK]
                plain = [crop(word, cell, seed=seed) for _, word, cell in chunk]
                seen += [_blur_and_noise(estimate(rgb)) for rgb in plain]
                for treatment, pictures in treatments(plain).items():
                    for name, reader in readers.items():
                        texts = readings.read(reader.for_script(script), pictures, label=name)
                        read = [is_read(text, word.label) for text, (_, word, _) in zip(texts, chunk, strict=True)]
                        right[name].setdefault(treatment, []).extend(read)
                bar.update(len(chunk))
    ordered = [entry for script in SCRIPTS for entry in drawn if entry[1].script == script]
    as_array = {name: {t: np.array(r, float) for t, r in found.items()} for name, found in right.items()}
    return Samples(
        word=np.array([number for number, _, _ in ordered]),
        script=np.array(["latin" if word.script == "digits" else word.script for _, word, _ in ordered]),
        height=np.array([float(cell.height) for _, _, cell in ordered]),
        blur=np.array([blur for blur, _ in seen]),
        noise=np.array([noise for _, noise in seen]),
        gains={name: _over_plain(found) for name, found in as_array.items()},
    )


def _blur_and_noise(found: Estimate) -> tuple[float, float]:
    """Such that no rule chooses a plain ground."""
    return (-1.0, math.inf) if found.is_blank else (found.blur, found.noise)


def _over_plain(right: Mapping[Treatment, Floats]) -> dict[Treatment, Floats]:
    return {treatment: values - right[PLAIN] for treatment, values in right.items() if treatment != PLAIN}


def _cells(word: Word, *, draws: int, seed: int) -> list[Cell]:
    rng = np.random.default_rng(sample_seed(seed, f"cells of {word.name}"))
    return [CELLS[int(place)] for place in rng.permutation(len(CELLS))[:draws]]


class _Treatments:
    """Crops as they are, and after each treatment, as the service makes them."""

    def __init__(self, subject: Subject) -> None:
        self._scale = subject.predictor.spec.scale
        self._each = {
            target: InProcess(subject.predictor, self._planner(subject, target), policy=RoutingPolicy("auto", ANY))
            for target in TARGETS
        }

    def _planner(self, subject: Subject, target: float) -> Planner:
        every = Rule(min_blur=0, max_noise=math.inf, target_blur=target, strength=1)
        return subject.planner_with(QualityGate(Calibration({ANY: every})))

    def __call__(self, plain: Sequence[Rgb]) -> dict[Treatment, list[Rgb]]:
        pictures: dict[Treatment, list[Rgb]] = {PLAIN: list(plain)}
        enlarged = [tiling.enlarge(rgb, (self._scale * rgb.shape[0], self._scale * rgb.shape[1])) for rgb in plain]
        for target, through in self._each.items():
            answers = through(plain)
            for strength in STRENGTHS:
                pictures[target, strength] = [
                    mixed(answer.rgb, large, strength) if answer.decision.infers else rgb
                    for answer, large, rgb in zip(answers, enlarged, plain, strict=True)
                ]
        return pictures


def summary(report: dict[str, Any]) -> str:
    share = report["super_resolved"]
    rules = {name: Rule.from_json(limits) for name, limits in report["rules"].items()}
    lines = [
        f"{report['model']}: what its rules do, and to which share of these crops",
        *(
            f"  {name}: {rule.description()}; {share[name]:.0%}, target {rule.target_blur}, strength {rule.strength}"
            for name, rule in rules.items()
        ),
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
