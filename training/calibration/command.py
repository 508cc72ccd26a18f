"""Learns which crops a model helps which recogniser to read, and how, and writes the rules beside the model.

    python -m training calibrate --model tbsrn --data word_crops_val.tar --out calibration

    words of the calibration half -> crops at random heights and blurs -> plain | each treatment -> each recogniser
          -> for each, and for all together, the rule that gains most and harms no group of crops
          -> for each, the confidences and the treatment by which second opinions gain most
          -> model_store/tbsrn/calibration-4.json, curve.svg

A treatment is the blur at which the network sees the crop, in how many views, and the share of its picture in the
output.
`python -m bench ocr` measures the rules on the other half of the words; train the model on neither half. The
service loads the file at its next start, and refuses it for other weights. After an interruption the same command
goes on with the readings in --out.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from model_store.calibration import ANY, SCHEMA_VERSION, Calibration, Rule, calibration_path
from model_store.errors import ModelStoreError
from training.calibration import second_opinions
from training.calibration.cells import Word, add_data, words
from training.calibration.chart import write_curve
from training.calibration.fit import Samples, Treatment, cross_validated, curve, fit, gain
from training.calibration.measure import draw, measure
from training.calibration.network import PRECISION, Network, add_network, open_network
from training.calibration.readers import SharedReader, shared_readers
from training.errors import CheckpointError, DataError
from training.ocr import READERS
from training.readings import Readings
from training.record import machine
from training.run_state import git_commit

DRAWS = 12  # crops of each word


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_network(parser)
    add_data(parser)
    parser.add_argument("--readers", default=",".join(READERS), help="by comma (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=DRAWS, help="crops of each word (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for readings and curve.svg")
    parser.add_argument("--dry-run", action="store_true", help="write the calibration to --out, not to the store")
    parser.add_argument(
        "--second-opinions",
        action="store_true",
        help="keep the model's rules; choose the limits of second opinions",
    )


def run(args: argparse.Namespace) -> None:
    """Measure, fit, print, write."""
    cv2.setNumThreads(1)
    network = open_network(args.model, weights=args.weights, store=args.model_store)
    before = _rules_of(network) if args.second_opinions else None
    scripts = args.scripts.split(",")
    chosen = words(args.data, "calibration", scripts=scripts, limit=args.limit)
    with (
        shared_readers(args.readers.split(","), scripts) as readers,
        Readings(args.out / "readings.jsonl") as readings,
    ):
        if before and (missing := sorted(set(readers) - set(before["rules"]))):
            raise DataError(f"the calibration has no rule for {', '.join(missing)}")
        task = _Task(args, network, chosen, readers)
        samples, opinions = measure(network, chosen, readers, readings, draws=args.draws, seed=args.seed)
        report = before or task.rules(samples)
        report["second_opinions"] = {**second_opinions.report(opinions), **task.origin()}
    target = args.out / "calibration.json"
    if network.artefact and not args.dry_run:
        target = calibration_path(network.artefact)
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    write_curve(report, args.out / "curve.svg")
    print(summary(report))
    print(f"\n{target}, {args.out / 'curve.svg'}")


def _rules_of(network: Network) -> dict[str, Any]:
    """The model's calibration. Raises CheckpointError if it has none that fits."""
    try:
        if network.artefact and Calibration.of(network.artefact):
            found: dict[str, Any] = json.loads(calibration_path(network.artefact).read_text(encoding="utf-8"))
            return found
    except ModelStoreError as exc:
        raise CheckpointError(str(exc)) from exc
    raise CheckpointError(f"{network.name} has no rules yet; calibrate it first without --second-opinions")


@dataclass(frozen=True)
class _Task:
    args: argparse.Namespace
    network: Network
    words: Sequence[Word]
    readers: Mapping[str, SharedReader]

    def rules(self, samples: Samples) -> dict[str, Any]:
        """The content of a calibration, but for the limits of second opinions."""
        rules = {ANY: fit(samples)} | {name: fit(samples.of_readers(name)) for name in self.readers}
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.network.name,
            "digest": self.network.digest,
            "rules": Calibration(rules).as_json(),
            **self.origin(),
            "super_resolved": {name: round(float(samples.chosen(rule).mean()), 4) for name, rule in rules.items()},
            "points_over_plain": points(samples, rules),
            "curve": curve(samples, rules),
        }

    def origin(self) -> dict[str, Any]:
        """The circumstances of a measurement."""
        args = self.args
        scripts = Counter(word.script for word in self.words)
        return {
            "command": typed_command("training"),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "engine": self.network.engine,
            "precision": PRECISION,
            "git_commit": git_commit(),
            "data": {
                "path": args.data.name,
                "words": dict(scripts),
                "crops": len(draw(self.words, draws=args.draws, seed=args.seed)),
                "limit": args.limit,
                "seed": args.seed,
            },
            "recognisers": {name: reader.version for name, reader in self.readers.items()},
        }


def typed_command(program: str) -> str:
    """The command as typed, with each path cut to its last part, because folders differ between machines."""
    return f"python -m {program} " + shlex.join(Path(word).name if "/" in word else word for word in sys.argv[1:])


def points(samples: Samples, rules: Mapping[str, Rule]) -> dict[str, dict[str, dict[str, float]]]:
    """Way of choosing the rule -> recogniser -> points gained over the plain crops, and their standard error."""

    def by(choose: Mapping[str, Rule]) -> dict[str, dict[str, float]]:
        gained = {
            name: np.zeros(len(samples.word)) if rule.never else samples.gained(name, rule)
            for name, rule in choose.items()
        }
        return gain(gained, samples.word)

    names = list(samples.gains)
    left_out = {name: cross_validated(samples.of_readers(name))[0][name] for name in names}
    return {
        "any": by(dict.fromkeys(names, rules[ANY])),
        "named": by({name: rules[name] for name in names}),
        "named_cross_validated": gain(left_out, samples.word),
    }


def summary(report: dict[str, Any]) -> str:
    share = report["super_resolved"]
    rules = {name: Rule.from_json(limits) for name, limits in report["rules"].items()}
    lines = [
        f"{report['model']}: each rule, and the share of these crops that it super-resolves",
        *(
            f"  {name}: {rule.description()}; {share[name]:.0%}, "
            f"target {rule.target_blur}, strength {rule.strength}, views {rule.views}"
            for name, rule in rules.items()
        ),
        "",
        "| points over the plain crop | " + " | ".join(report["points_over_plain"]) + " |",
        "|---|---|---|---|",
    ]
    for reader in report["recognisers"]:
        cells = (
            f"{found[reader]['points']:+.2f} ± {1.96 * found[reader]['error']:.2f}"
            for found in report["points_over_plain"].values()
        )
        lines.append(f"| {reader} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_second_opinions(report["second_opinions"])])


def _second_opinions(found: Mapping[str, Any]) -> Iterator[str]:
    columns = (
        "second opinions",
        "below",
        "margin",
        "target, strength, views",
        "crops sent",
        "points",
        "words left out",
    )
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for reader in found["sent"]:
        of = reader if reader in found["recognisers"] else ANY
        limits = found["limits"].get(of, {})
        names = ("below", "margin", *Treatment._fields)
        below, margin, *treatment = (str(limits.get(name, "none")) for name in names)
        chosen, left_out = (
            f"{own[reader]['points']:+.2f} ± {1.96 * own[reader]['error']:.2f}"
            for own in found["points_over_plain"].values()
        )
        yield (
            f"| {reader} | {below} | {margin} | {', '.join(treatment)} "
            f"| {found['sent'][reader]:.0%} | {chosen} | {left_out} |"
        )
