"""How good a network is: PSNR and SSIM as published, and what recognisers read, beside plain bicubic.

    python -m training evaluate --weights tbsrn:1 --data word_crops_val.tar --out evaluation \
        --ocr rapidocr-v6,rapidocr-v4,tesseract
    python -m training evaluate --weights last.safetensors --data TextZoom/test --out evaluation

    pairs -> LR -> network -> SR -> { PSNR, SSIM } -> { HR, bicubic, SR read } -> table, report.json, report.html

PSNR_Avg and SSIM_Avg are PaddleOCR's SRMetric: means over batches of --batch-size in the order of the data,
all subsets joined for the overall figure, SR as it left the network. Bicubic is LR enlarged by Pillow's
filter. What the recognisers see is 8-bit, SR clipped and rounded.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from model_store import BUNDLED
from model_store.pixels import Rgb, crops_to_lr, resize, sr_to_crops
from training.data.crops import MIN_HEIGHT, SEED
from training.data.pairs import PairSet, read_pairs
from training.errors import ConfigError, DataError
from training.metrics import psnr_per_image
from training.ocr import open_readers
from training.predictor import ENGINES, Predictor, open_weights
from training.readings import Readings
from training.record import write_report
from training.report import write_page
from training.scores import PICTURES, BatchedMetric, Score, score_table, text_score
from training.stop import INTERRUPTED

BATCH_SIZE = 16  # of the published evaluation; PSNR_Avg and SSIM_Avg depend on it
OVERALL = "all"


@dataclass(eq=False)
class Measured:
    """A set of pairs with what the network made of it. psnr_*: dB for each crop. readings: reader -> picture."""

    pairs: PairSet
    bicubic: list[Rgb] = field(default_factory=list)
    sr: list[Rgb] = field(default_factory=list)
    psnr_bicubic: list[float] = field(default_factory=list)
    psnr_sr: list[float] = field(default_factory=list)
    readings: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def pictures(self, kind: str) -> list[Rgb]:
        return {"hr": self.pairs.hr, "bicubic": self.bicubic, "sr": self.sr}[kind]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", required=True, help="checkpoint, .onnx, Paddle folder, or model such as tbsrn:1"
    )
    parser.add_argument("--data", type=Path, required=True, help="LMDB folders, or folder or tar with labels.tsv")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.json and report.html")
    parser.add_argument(
        "--ocr", default="", help="recognisers, by comma: rapidocr-v6, rapidocr-v4, tesseract, crnn:FILE.pth"
    )
    parser.add_argument(
        "--preset", default="default", help="degradations of crops, by comma (default: %(default)s)"
    )
    parser.add_argument("--min-height", type=int, default=MIN_HEIGHT, help="of HR crops, pixels (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the degradation (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="of the metric (%(default)s)")
    parser.add_argument("--limit", type=int, help="only the first so many crops of each subset")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="what computes (%(default)s)")
    parser.add_argument("--store", type=Path, default=BUNDLED, help="model store (default: the bundled one)")


def run(args: argparse.Namespace) -> None:
    """Evaluate, print the table, write report.json and report.html into --out."""
    if min(args.batch_size, args.min_height, 1 if args.limit is None else args.limit) < 1 or args.seed < 0:
        raise ConfigError("--batch-size, --min-height and --limit must be positive, --seed not negative")
    try:
        with logging_redirect_tqdm():
            evaluate(args)
    except KeyboardInterrupt:
        print(f"interrupted; what was read is kept in {args.out}, the same command goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def evaluate(args: argparse.Namespace) -> list[Score]:
    """Scores of each subset and, last, of all. Every mistake in the arguments shows before the work."""
    readers = open_readers([name for name in args.ocr.split(",") if name])
    predictor = open_weights(args.weights, engine=args.engine, store=args.store)
    sets, degraded = read_pairs(
        args.data,
        predictor.spec,
        presets=args.preset.split(","),
        seed=args.seed,
        min_height=args.min_height,
        limit=args.limit,
    )
    started = time.perf_counter()
    measured, scores = measure(predictor, sets, batch_size=args.batch_size)
    seconds = {"network": time.perf_counter() - started}
    started = time.perf_counter()
    with Readings(args.out / "readings.jsonl") as readings:
        for reader in readers:
            for part in measured:
                part.readings[reader.name] = {
                    kind: readings.read(
                        reader, part.pictures(kind), label=f"{reader.name} {part.pairs.name} {kind}"
                    )
                    for kind in PICTURES
                }
    seconds["reading"] = time.perf_counter() - started
    scores = with_text(scores, measured, [reader.name for reader in readers])
    print(f"{args.data}, {predictor.name} by {predictor.engine}\n")
    print(score_table(scores, model=predictor.name))
    report = write_report(args, predictor, scores, readers=readers, seconds=seconds, degraded=degraded)
    write_page(args.out / "report.html", report, measured, scores)
    print(f"\n{args.out / 'report.json'}, {args.out / 'report.html'}")
    return scores


def measure(
    predictor: Predictor, sets: Sequence[PairSet], *, batch_size: int
) -> tuple[list[Measured], list[Score]]:
    """Run the network over all sets: what it made of each, and scores of each and of all, without text."""
    metrics = {kind: [BatchedMetric(batch_size) for _ in (*sets, OVERALL)] for kind in ("bicubic", "sr")}
    measured = [Measured(pairs) for pairs in sets]
    total = sum(map(len, sets))
    with tqdm(total=total, desc="super-resolve", unit="crop", disable=None, leave=False) as bar:
        for place, part in enumerate(measured):
            for lr, hr in _batches(part.pairs, batch_size):
                made = _enlarge(predictor, part, lr, hr)
                for kind, (pictures, sharp) in made.items():
                    metrics[kind][place].update(pictures, sharp)
                    metrics[kind][-1].update(pictures, sharp)
                bar.update(len(lr))
    scores = [
        Score(pairs.name, len(pairs), bicubic.result(), sr.result(), pairs.unreadable, pairs.too_low)
        for pairs, bicubic, sr in zip(sets, metrics["bicubic"], metrics["sr"], strict=False)
    ]
    if len(sets) > 1:
        left_out = (sum(pairs.unreadable for pairs in sets), sum(pairs.too_low for pairs in sets))
        scores.append(
            Score(OVERALL, total, metrics["bicubic"][-1].result(), metrics["sr"][-1].result(), *left_out)
        )
    return measured, scores


def with_text(scores: Sequence[Score], measured: Sequence[Measured], readers: Sequence[str]) -> list[Score]:
    """The scores with what each recogniser read; the one of all joins the readings of the sets."""
    groups = [[part] for part in measured] + ([list(measured)] if len(measured) > 1 else [])
    return [
        replace(score, text={reader: text_score(*_joined(group, reader)) for reader in readers})
        for score, group in zip(scores, groups, strict=True)
    ]


def _joined(group: Sequence[Measured], reader: str) -> tuple[Mapping[str, list[str]], list[str]]:
    labels = [label for part in group for label in part.pairs.labels]
    return {kind: [text for part in group for text in part.readings[reader][kind]] for kind in PICTURES}, labels


def _batches(pairs: PairSet, size: int) -> Iterator[tuple[list[Rgb], list[Rgb]]]:
    for start in range(0, len(pairs), size):
        yield pairs.lr[start : start + size], pairs.hr[start : start + size]


def _enlarge(
    predictor: Predictor, part: Measured, lr: Sequence[Rgb], hr: Sequence[Rgb]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """One batch: pictures and PSNR go to `part`; (bicubic, hr) and (sr, hr) as tensors come back."""
    spec = predictor.spec
    large = replace(spec, height=spec.scale * spec.height, width=spec.scale * spec.width)
    bicubic = [resize(crop, height=large.height, width=large.width) for crop in lr]
    sharp, blurred = crops_to_lr(hr, large), crops_to_lr(bicubic, large)
    sr = predictor.run(crops_to_lr(lr, spec))
    if not np.isfinite(sr).all():
        raise DataError(f"{predictor.name} gave values that are no numbers; its training has diverged")
    part.bicubic += bicubic
    part.sr += sr_to_crops(sr, spec)
    part.psnr_bicubic += psnr_per_image(blurred, sharp).tolist()
    part.psnr_sr += psnr_per_image(sr, sharp).tolist()
    return {"bicubic": (blurred, sharp), "sr": (sr, sharp)}
