"""Evaluates a network: PSNR and SSIM as published, and reading accuracy of recognisers, beside plain bicubic.

    python -m training evaluate --weights tbsrn:1 --data word_crops_val.tar --out evaluation \
        --ocr rapidocr-v6,rapidocr-v4,tesseract
    python -m training evaluate --weights last.safetensors --data TextZoom/test --out evaluation

    pairs -> LR -> network -> SR -> { PSNR, SSIM } -> { HR, bicubic, SR read } -> table, report.json, report.html

PSNR_Avg and SSIM_Avg are PaddleOCR's SRMetric: means over batches of --batch-size in the order of the data, of SR
neither clipped nor rounded; the overall figure joins all subsets. Bicubic is LR enlarged by Pillow's filter.
Recognisers get 8-bit pictures, SR clipped and rounded.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from training.predictor import ENGINES, LoadedNetwork, open_weights
from training.readings import Readings
from training.record import write_report
from training.report import write_page
from training.scores import PICTURES, BatchedMetric, Measured, Score, score_table, with_text
from training.stop import INTERRUPTED

BATCH_SIZE = 16  # the published evaluation's; PSNR_Avg and SSIM_Avg depend on it
OVERALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", required=True, help="checkpoint, .onnx, Paddle folder, or model such as tbsrn:1"
    )
    parser.add_argument("--data", type=Path, required=True, help="LMDB folders, or folder or tar with labels.tsv")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.json and report.html")
    parser.add_argument(
        "--ocr",
        default="",
        help="recognisers, separated by commas: rapidocr-v6, rapidocr-v4, tesseract, crnn:FILE.pth",
    )
    parser.add_argument(
        "--preset", default="default", help="degradations of crops, separated by commas (default: %(default)s)"
    )
    parser.add_argument(
        "--min-height", type=int, default=MIN_HEIGHT, help="least height of HR crops in pixels (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the degradation (%(default)s)")
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, help="batch size of the metric (%(default)s)"
    )
    parser.add_argument("--limit", type=int, help="evaluate only the first LIMIT crops of each subset")
    parser.add_argument(
        "--engine", choices=ENGINES, default="auto", help="library that runs the network (%(default)s)"
    )
    parser.add_argument("--store", type=Path, default=BUNDLED, help="model store (default: the bundled one)")


def run(args: argparse.Namespace) -> None:
    """Evaluate, print the table, write report.json and report.html into --out."""
    if min(args.batch_size, args.min_height, 1 if args.limit is None else args.limit) < 1 or args.seed < 0:
        raise ConfigError("--batch-size, --min-height and --limit must be positive, --seed not negative")
    try:
        with logging_redirect_tqdm():
            evaluate(args)
    except KeyboardInterrupt:
        print(f"interrupted; {args.out} keeps the readings so far, the same command continues", file=sys.stderr)
        sys.exit(INTERRUPTED)


def evaluate(args: argparse.Namespace) -> list[Score]:
    """Scores of each subset and, last, of all subsets. Wrong arguments raise before the evaluation starts."""
    readers = open_readers([name for name in args.ocr.split(",") if name])
    network = open_weights(args.weights, engine=args.engine, store=args.store)
    sets, degraded = read_pairs(
        args.data,
        network.spec,
        presets=args.preset.split(","),
        seed=args.seed,
        min_height=args.min_height,
        limit=args.limit,
    )
    started = time.perf_counter()
    measured, scores = measure(network, sets, batch_size=args.batch_size)
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
    print(f"{args.data}, {network.name} by {network.engine}\n")
    print(score_table(scores, model=network.name))
    report = write_report(args, network, scores, readers=readers, seconds=seconds, degraded=degraded)
    write_page(args.out / "report.html", report, measured, scores)
    print(f"\n{args.out / 'report.json'}, {args.out / 'report.html'}")
    return scores


def measure(
    network: LoadedNetwork, sets: Sequence[PairSet], *, batch_size: int
) -> tuple[list[Measured], list[Score]]:
    """Run the network over all sets: its output for each, and scores of each and of all, without text."""
    metrics = {kind: [BatchedMetric(batch_size) for _ in (*sets, OVERALL)] for kind in ("bicubic", "sr")}
    measured = [Measured(pairs) for pairs in sets]
    total = sum(map(len, sets))
    with tqdm(total=total, desc="super-resolve", unit="crop", disable=None, leave=False) as bar:
        for place, part in enumerate(measured):
            for lr, hr in _batches(part.pairs, batch_size):
                made = _enlarge(network, part, lr, hr)
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


def _batches(pairs: PairSet, size: int) -> Iterator[tuple[list[Rgb], list[Rgb]]]:
    for start in range(0, len(pairs), size):
        yield pairs.lr[start : start + size], pairs.hr[start : start + size]


def _enlarge(
    network: LoadedNetwork, part: Measured, lr: Sequence[Rgb], hr: Sequence[Rgb]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Enlarge one batch: add pictures and PSNR to `part`, return (bicubic, hr) and (sr, hr) as tensors."""
    spec = network.spec
    large = replace(spec, height=spec.scale * spec.height, width=spec.scale * spec.width)
    bicubic = [resize(crop, height=large.height, width=large.width) for crop in lr]
    sharp, blurred = crops_to_lr(hr, large), crops_to_lr(bicubic, large)
    sr = network.run(crops_to_lr(lr, spec))
    if not np.isfinite(sr).all():
        raise DataError(f"{network.name} gave values that are no numbers; its training has diverged")
    part.bicubic += bicubic
    part.sr += sr_to_crops(sr, spec)
    part.psnr_bicubic += psnr_per_image(blurred, sharp).tolist()
    part.psnr_sr += psnr_per_image(sr, sharp).tolist()
    return {"bicubic": (blurred, sharp), "sr": (sr, sharp)}
