"""Figures of the published model, out of the reports that training left beside it: nothing is computed again.

model_store/tbsrn/4/evaluation.json  -> quality at the trained size
model_store/tbsrn/4/report.json      -> largest difference of each exported form from the trained network
model_store/tbsrn/calibration-4.json -> the rules, and the limits of second opinions
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench.harness.options import MODEL, Options
from bench.harness.report import Report, Table
from model_store.calibration import ANY, Rule, calibration_path
from model_store.store import ModelStore
from training.calibration.readers import READER_NAMES

OPTIONS: Options = MODEL
FORMS = {"paddle-inference": "Paddle Inference", "onnxruntime": "ONNX Runtime", "openvino-fp32": "OpenVINO fp32"}
Json = Mapping[str, Any]
Rows = Iterator[list[str]]


def measure(args: argparse.Namespace) -> Report:
    model = ModelStore(args.model_store).resolve(args.model)
    score, parity, calibration = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (model.path / "evaluation.json", model.path / "report.json", calibration_path(model))
    )
    whole = score["scores"][-1]
    left_out = ("points over all crops", "on words left out")
    limits = ("", "below", "margin", "target, px", "views", "strength", "crops sent", *left_out)
    tables = {
        "quality": Table("Degraded crops", ("", "bicubic", f"`{model.manifest.ref}`", "HR"), [*_quality(whole)]),
        "parity": Table("Largest difference from the trained network", [*FORMS.values()], [_differences(parity)]),
        "rules": Table("Rules", ("", "rule", *left_out), [*_rules(calibration)]),
        "limits": Table(
            "Second opinions", limits, [*_limits(calibration["second_opinions"], calibration["rules"])]
        ),
    }
    figures = {"model": model.manifest.ref, "digest": model.digest, "command": score["command"]}
    return Report(figures, tables)


def _quality(score: Json) -> Rows:
    sides = (score["bicubic"], score["sr"])
    yield ["PSNR_Avg, SSIM_Avg", *(f"{side['psnr_avg']:.2f} dB, {side['ssim_avg']:.4f}" for side in sides), ""]
    for reader, name in READER_NAMES.items():
        text = score["text"][reader]
        cells = (
            f"{100 * text[side]['accuracy']:.1f} % ({100 * text[side]['low']:.1f}-{100 * text[side]['high']:.1f})"
            for side in ("bicubic", "sr")
        )
        yield [f"{name} reads", *cells, f"{100 * text['hr']['accuracy']:.1f} %"]


def _differences(report: Json) -> list[str]:
    measured = [report["parity"], *report["parity_by_size"].values()]
    return [f"{max(max(by_size[form].values()) for by_size in measured):.1e}" for form in FORMS]


def _rules(calibration: Json) -> Rows:
    points = calibration["points_over_plain"]
    for reader, name in {**READER_NAMES, ANY: "`any`"}.items():
        rule = Rule.from_json(calibration["rules"][reader])
        of = READER_NAMES if reader == ANY else [reader]
        ways = ("any", None) if reader == ANY else ("named", "named_cross_validated")
        cells = (", ".join(_points(points[way][one]) for one in of) if way else "" for way in ways)
        limits = f"blur {rule.min_blur:.1f} px and more, target {rule.target_blur} px"
        yield [name, f"{limits}, {rule.views} view{'s' * (rule.views > 1)}, strength {rule.strength:g}", *cells]


def _limits(found: Json, rules: Json) -> Rows:
    for side, sent in found["sent"].items():
        reader, _, as_any = side.partition(" as ")
        own = found["limits"].get(as_any or reader, {"below": 0, "margin": 0})
        limits = {"views": 1, **rules[as_any or reader], **own}
        points = (_points(found["points_over_plain"][way][side]) for way in ("chosen", "cross_validated"))
        name = f"`any`, read by {READER_NAMES[reader]}" if as_any else READER_NAMES[reader]
        given = (f"{limits[key]:g}" for key in ("below", "margin", "target_blur", "views", "strength"))
        yield [name, *given, f"{100 * sent:.0f} %", *points]


def _points(found: Json) -> str:
    return f"{found['points']:+.1f} ± {1.96 * found['error']:.1f}"
