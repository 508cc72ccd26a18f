"""The loss from reduced precision: PSNR, SSIM and words read with each precision, on the same degraded crops.

    python -m bench precision --data word_crops_val.tar --out runs/precision
    python -m bench precision --data crops/ --model tbsrn:2 --readers rapidocr-v6 --limit 50 --out runs/precision

Crops are degraded as in `python -m training evaluate` with its defaults, and run through the service's own runtime
in each precision. Differences from fp32 come with a 95 % confidence interval from a bootstrap over words.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from app.inference.runtimes import open_runtime
from app.inference.runtimes.base import Precision
from bench.paired import Right, difference
from model_store import BUNDLED
from model_store.pixels import Rgb
from model_store.store import Artefact, ModelStore
from training.data.crops import MIN_HEIGHT, SEED
from training.data.pairs import PairSet, read_pairs
from training.evaluate import BATCH_SIZE, measure
from training.ocr import READERS, TextReader, open_readers
from training.predictor import LoadedNetwork
from training.readings import Readings
from training.record import machine
from training.run_state import git_commit
from training.scores import is_read
from training.versions import versions

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")  # the others are compared with the first
LIBRARIES = ("numpy", "cv2", "openvino", "onnxruntime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder or tar with labels.tsv, or LMDB folders")
    parser.add_argument("--model", default="tbsrn", help="name or name:version (default: the newest %(default)s)")
    parser.add_argument("--model-store", type=Path, default=BUNDLED, help="folder (default: the bundled one)")
    parser.add_argument("--readers", default=",".join(READERS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="use only this number of crops, from the first")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.json and the readings")


def run(args: argparse.Namespace) -> None:
    """Measure, print, and write the figures to --out."""
    readers = open_readers(args.readers.split(","))
    artefact = ModelStore(args.model_store).resolve(args.model)
    spec = artefact.manifest.pixels
    (pairs,), _ = read_pairs(
        args.data, spec, presets=["default"], seed=SEED, min_height=MIN_HEIGHT, limit=args.limit
    )
    scores, made = zip(*(_super_resolved(artefact, pairs, precision) for precision in PRECISIONS), strict=True)
    figures = dict(zip(PRECISIONS, scores, strict=True))
    with Readings(args.out / "readings.jsonl") as readings:
        for reader in readers:
            right = {
                precision: _right(reader, sr, pairs.labels, readings)
                for precision, sr in zip(PRECISIONS, made, strict=True)
            }
            for precision, found in figures.items():
                change = difference(right[PRECISIONS[0]], right[precision])
                found[reader.name] = {"read": float(right[precision].mean())} | asdict(change)
    report = {
        "command": "python -m bench precision " + shlex.join(sys.argv[2:]),
        "git_commit": git_commit(),
        "machine": machine(),
        "libraries": versions(LIBRARIES),
        "model": {"name": artefact.manifest.ref, "sha256": artefact.digest},
        "data": {"path": str(args.data), "crops": len(pairs)},
        "figures": figures,
    }
    print(table(report))
    (args.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _super_resolved(artefact: Artefact, pairs: PairSet, precision: Precision) -> tuple[dict[str, Any], list[Rgb]]:
    """PSNR and SSIM, and the super-resolved pictures, from OpenVINO as the service runs it."""
    manifest = artefact.manifest
    runtime = open_runtime("openvino", artefact, device="cpu", threads=0, precision=precision)
    predictor = LoadedNetwork(manifest.ref, f"openvino {precision}", artefact.digest, manifest.pixels, runtime.run)
    (measured,), (score,) = measure(predictor, [pairs], batch_size=BATCH_SIZE)
    runtime.close()
    return {"psnr_avg": score.sr.psnr_avg, "ssim_avg": score.sr.ssim_avg}, measured.sr


def _right(reader: TextReader, sr: list[Rgb], labels: Sequence[str], readings: Readings) -> Right:
    texts = readings.read(reader, sr, label=reader.name)
    return np.array([is_read(text, label) for text, label in zip(texts, labels, strict=True)])


def table(report: Mapping[str, Any]) -> str:
    """Markdown: one row per precision; words read in %, their difference from fp32 in points, its interval."""
    readers = [name for name in report["figures"][PRECISIONS[0]] if name not in ("psnr_avg", "ssim_avg")]
    lines = [
        f"{report['model']['name']} on {report['data']['crops']} crops of {report['data']['path']}",
        "",
        f"| | PSNR_Avg, dB | SSIM_Avg | {' | '.join(readers)} |",
        "|---" * (3 + len(readers)) + "|",
    ]
    for precision, found in report["figures"].items():
        cells = [f"{found['psnr_avg']:.3f}", f"{found['ssim_avg']:.4f}"]
        for reader in readers:
            text = found[reader]
            change = f" ({text['points']:+.1f}: {text['low']:+.1f} to {text['high']:+.1f})"
            cells.append(f"{100 * text['read']:.1f} %" + (change if precision != PRECISIONS[0] else ""))
        lines.append(f"| {precision} | {' | '.join(cells)} |")
    return "\n".join(lines)
