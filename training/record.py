"""report.json of an evaluation: every figure with the facts needed to reproduce it."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_store.manifest import Metric
from training.data.crops import named_config
from training.ocr import TextReader
from training.predictor import LoadedNetwork
from training.run_state import git_commit
from training.scores import Score
from training.versions import versions

SCHEMA_VERSION = 1
SUFFIXES = {"sr": "", "bicubic": "_bicubic", "hr": "_hr"}  # picture -> suffix of its figures' names
LIBRARIES = ("numpy", "cv2", "PIL", "paddle", "openvino", "onnxruntime")


def write_report(
    args: argparse.Namespace,
    network: LoadedNetwork,
    scores: Sequence[Score],
    *,
    readers: Sequence[TextReader],
    seconds: Mapping[str, float],
    degraded: bool,
) -> dict[str, Any]:
    """Write report.json into args.out atomically, and return its content."""
    data: dict[str, Any] = {"path": str(args.data), "limit": args.limit}
    if degraded:
        presets = {name: asdict(named_config(name)) for name in args.preset.split(",")}
        data |= {"min_height": args.min_height, "seed": args.seed, "degradation": presets}
    report = {
        "schema_version": SCHEMA_VERSION,
        "command": "python -m training " + shlex.join(sys.argv[1:]),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "weights": {
            "given": args.weights,
            "name": network.name,
            "sha256": network.sha256,
            "engine": network.engine,
            "input": [network.spec.height, network.spec.width],
            "scale": network.spec.scale,
        },
        "data": data,
        "batch_size": args.batch_size,
        "scores": [asdict(score) for score in scores],
        "recognisers": {reader.name: reader.version for reader in readers},
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "libraries": versions(LIBRARIES),
        "machine": machine(),
    }
    text = json.dumps(_json(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    unfinished = args.out / ".report.json.unfinished"
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(args.out / "report.json")
    return report


def report_metrics(report: Mapping[str, Any]) -> list[Metric]:
    """The figures of a report as metrics of a manifest: per subset, of bicubic and SR, and readings of HR."""
    found = []
    for score in report["scores"]:
        figures = {
            f"{name}{SUFFIXES[picture]}": (score[picture][name], unit)
            for picture in ("bicubic", "sr")
            for name, unit in (("psnr_avg", "dB"), ("ssim_avg", "1"))
        }
        for reader, text in score["text"].items():
            figures |= {f"{reader}_accuracy{SUFFIXES[p]}": (text[p]["accuracy"], "fraction") for p in SUFFIXES}
        data = f"{Path(report['data']['path']).name}, {score['name']}, {score['crops']} crops"
        found += [
            Metric(name, value, unit, data, report["command"])
            for name, (value, unit) in figures.items()
            if value is not None  # the PSNR of equal pictures is infinite
        ]
    return found


def machine() -> str:
    """The processor, the cores this process may use, and Python's version, for a report."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, Python {platform.python_version()}"


def _json(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """A JSON value; infinities and NaN, such as the PSNR of equal pictures, become null."""
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
