"""The loss from reduced precision: PSNR, SSIM and words read from the same degraded crops in each precision.

    crops degraded as in `python -m training evaluate` -> the service's runtime in fp32, bf16 -> scores, readings

Changes are points, words of 100, over fp32; their 95 % intervals are over words. On a processor without bf16 the
report has fp32 alone, and says so.
"""

from __future__ import annotations

import argparse
from contextlib import closing

import numpy as np

from app.errors import StartupError
from app.inference.runtimes import open_runtime
from app.inference.runtimes.base import Precision
from bench.harness.options import DATA, MODEL, READING, Options, Value
from bench.harness.report import Report, Table
from model_store.store import ModelStore
from training.data.crops import MIN_HEIGHT, SEED
from training.data.pairs import read_pairs
from training.evaluate import BATCH_SIZE
from training.evaluate import measure as evaluate
from training.ocr import open_readers
from training.paired import Floats, difference
from training.predictor import LoadedNetwork
from training.readings import Readings
from training.scores import is_read

READERS = Value(READING["readers"].full, quick="rapidocr-v6")
OPTIONS: Options = {**MODEL, **DATA, "readers": READERS, "limit": Value(None, quick=4, kind=int)}
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")  # the others are compared with the first


def measure(args: argparse.Namespace) -> Report:
    readers, artefact = open_readers(args.readers.split(",")), ModelStore(args.model_store).resolve(args.model)
    name, pixels = artefact.manifest.ref, artefact.manifest.pixels
    lowest, default = 1 if args.quick else MIN_HEIGHT, ["default"]  # the sample crops are low
    (pairs,), _ = read_pairs(args.data, pixels, presets=default, seed=SEED, min_height=lowest, limit=args.limit)
    facts, rows, plain = {"crops": str(len(pairs))}, [], dict[str, Floats]()
    with Readings(args.work / "readings.jsonl") as readings:
        for precision in PRECISIONS:
            try:
                runtime = open_runtime("openvino", artefact, device="cpu", threads=0, precision=precision)
            except StartupError as exc:
                facts[f"without_{precision}"] = str(exc)
                continue
            with closing(runtime):
                network = LoadedNetwork(name, precision, artefact.digest, pixels, runtime.run)
                (measured,), (score,) = evaluate(network, [pairs], batch_size=BATCH_SIZE)
            rows.append([precision, f"{score.sr.psnr_avg:.3f} dB", f"{score.sr.ssim_avg:.4f}"])
            for reader in readers:
                texts = zip(readings.read(reader, measured.sr, label=reader.name), pairs.labels, strict=True)
                right = np.array([is_read(*both) for both in texts], float)
                change = difference(right - plain.setdefault(reader.name, right)).text()
                rows[-1].append(f"{100 * right.mean():.1f} %" + (f" ({change})" if len(rows) > 1 else ""))
    table = Table(f"{name} in each precision", ["", "PSNR_Avg", "SSIM_Avg", *(one.name for one in readers)], rows)
    return Report({"rows": rows}, {"precision": table}, facts)
