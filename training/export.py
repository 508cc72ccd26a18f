"""Exports a checkpoint for serving, checks its outputs against the trained network, and publishes it.

    python -m training export --weights telescope.safetensors --out exported
    python -m training export ... --publish --name tbsrn --card CARD.md --facts FACTS.json --store model_store \
        --evaluation evaluation
    python -m training export --triton triton-models

    checkpoint -> TBSRN -> FoldedTBSRN -> paddle/ -> onnx/ -> parity on real crops -> report.json -> model store
                        -> for any size   paddle-any-size/, onnx-any-size/ -> parity at the other SIZES

The any-size files serve input sizes other than the trained one; see `training.any_size`.

The same checkpoint, crops and library versions give the same bytes.
FACTS.json holds `training` (data and configuration of the weights), `licence`, and optionally `metrics` (a list
of name, value, unit, data, command). --evaluation is a folder that `evaluate` wrote for these weights: its figures
join the metrics, and its report.json is stored in the artefact as evaluation.json.
--triton writes a published model for Triton Inference Server instead; see `training.triton`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from model_store.errors import ModelStoreError
from model_store.manifest import Metric, PixelSpec, sha256_of
from model_store.pixels import crops_to_lr
from model_store.store import Artefact, ModelStore
from training import parity, triton
from training.any_size import SIZES
from training.architecture import pixel_spec
from training.checkpoint import load_checkpoint
from training.errors import ExportError
from training.onnx_form import write_onnx
from training.paddle_form import write_paddle
from training.record import report_metrics
from training.run_state import ROOT
from training.tbsrn import TBSRN
from training.versions import versions
from training.weights_file import read_checkpoint

CROPS = ROOT / "examples" / "crops"
# The options that --triton, which takes a published model, does not take.
OPTIONS = ("weights", "out", "crops", "publish", "name", "version", "card", "facts", "evaluation")
LIBRARIES = ("paddle", "paddle2onnx", "onnx", "onnxruntime", "openvino", "numpy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, help="our checkpoint, .safetensors")
    parser.add_argument("--out", type=Path, help="folder to write; new or empty")
    parser.add_argument("--crops", type=Path, help="folder or tar of images for parity (default: examples/crops)")
    parser.add_argument("--publish", action="store_true", help="put the result into the model store")
    parser.add_argument("--name", help="with --publish: the model's name")
    parser.add_argument("--version", type=int, help="with --publish: its version (default: the next)")
    parser.add_argument("--card", type=Path, help="with --publish: its MODEL_CARD.md")
    parser.add_argument("--facts", type=Path, help="with --publish: JSON with training, metrics, licence")
    parser.add_argument("--evaluation", type=Path, help="with --publish: the --out of `evaluate` on these weights")
    parser.add_argument("--store", type=Path, help="with --publish or --triton: the model store's folder")
    triton.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Export, check, and publish if asked. An impossible publication is refused before the export."""
    check_options(args)
    if args.triton:
        triton.run(args)
        return
    facts: dict[str, Any] = {}
    commit = ""
    if args.publish:
        facts = read_facts(args)
        commit = clean_commit(ROOT)
    report = export(args.weights, args.out, crops=args.crops or CROPS)
    print(json.dumps(report["parity"], indent=1))
    if args.publish:
        shutil.copyfile(args.card, args.out / "MODEL_CARD.md")
        if args.evaluation:
            # Without report.html: the licence of its pictures is that of the test data.
            shutil.copyfile(args.evaluation / "report.json", args.out / "evaluation.json")
        artefact = publish(args.out, args.store, args.name, version=args.version, facts=facts, commit=commit)
        print(f"published {artefact.manifest.ref} as {artefact.path}")


def check_options(args: argparse.Namespace) -> None:
    """Raises ExportError for an option that is missing, or does not go with the others."""
    given = [name for name in (OPTIONS if args.triton else triton.OPTIONS) if getattr(args, name)]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise ExportError(f"--triton takes no {option}" if args.triton else f"{option} goes with --triton alone")
    if not args.triton and not (args.weights and args.out):
        raise ExportError("give --weights and --out, or --triton for a published model")


def export(weights: Path, out: Path, *, crops: Path) -> dict[str, Any]:
    """Write paddle/, onnx/, their any-size forms, weights/ and report.json into `out`; return the report.

    Raises ExportError if `out` is not empty, ParityError (after writing the report) naming each
    form that differs from the trained network by more than `parity.TOLERANCE`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} exists and is not an empty folder; choose another")
    network = load_checkpoint(weights)
    spec = pixel_spec(network.architecture)
    lr = crops_to_lr(parity.read_crops(crops), spec)
    (out / "weights").mkdir(parents=True)
    shutil.copyfile(weights, out / "weights" / "checkpoint.safetensors")
    folded = write_paddle(network, out / "paddle", spec)
    write_onnx(out / "paddle", out / "onnx" / "model.onnx", metadata=onnx_metadata(weights, spec))
    found = parity.differences(parity.dygraph(network), parity.exported_forms(out, folded), lr)
    by_size = export_any_size(network, weights, out, spec=spec, crops=crops)
    report = {
        "checkpoint": read_checkpoint(weights)[1] | {"sha256": sha256_of(weights)},
        "parity": found,  # form -> batch size -> largest absolute difference from the trained network
        "parity_by_size": by_size,  # height x width -> the same, of the any-size forms
        "parity_tolerance": parity.TOLERANCE,
        "parity_crops": crops.name,
        "libraries": versions(LIBRARIES),
    }
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    parity.require_parity(found)
    for size, differences in by_size.items():
        parity.require_parity(differences, at=f" at {size}")
    return report


def export_any_size(
    network: TBSRN, weights: Path, out: Path, *, spec: PixelSpec, crops: Path
) -> dict[str, parity.Differences]:
    """Write paddle-any-size/ and onnx-any-size/; return their differences from the network at `other_sizes`."""
    folder = out / "paddle-any-size"
    folded = write_paddle(network, folder, spec, any_size=True)
    metadata = onnx_metadata(weights, spec, any_size=True)
    write_onnx(folder, out / "onnx-any-size" / "model.onnx", metadata=metadata, any_size=True)
    forms = parity.exported_forms(out, folded, suffix="-any-size")
    found = {}
    for height, width in other_sizes(spec):
        images = parity.read_crops(crops)[: parity.BATCH_SIZES[-1]]  # one batch: these sizes are slow
        lr = crops_to_lr(images, replace(spec, height=height, width=width))
        found[f"{height}x{width}"] = parity.differences(parity.dygraph(network), forms, lr)
    return found


def other_sizes(spec: PixelSpec) -> tuple[tuple[int, int], ...]:
    """SIZES without the trained size, which has its own files."""
    return tuple(size for size in SIZES if size != (spec.height, spec.width))


def onnx_metadata(weights: Path, spec: PixelSpec, *, any_size: bool = False) -> dict[str, str]:
    """Metadata that describes the ONNX file without its manifest."""
    size, enlarged = f"{spec.height}, {spec.width}", f"{spec.height * spec.scale}, {spec.width * spec.scale}"
    if any_size:
        size, enlarged = "H, W", f"{spec.scale} H, {spec.scale} W"
    return {
        "description": "Text Telescope TBSRN, text super-resolution, folded for inference",
        "input": f"lr float32 (N, 3, {size}) {spec.channels} [{spec.low:g}, {spec.high:g}]",
        "output": f"sr float32 (N, 3, {enlarged}), clip to the range",
        "checkpoint_sha256": sha256_of(weights),
    }


def read_facts(args: argparse.Namespace) -> dict[str, Any]:
    """The content of --facts, metrics as `Metric`. Raises ExportError if --publish lacks an option."""
    for option in ("name", "card", "facts", "store"):
        if getattr(args, option) is None:
            raise ExportError(f"--publish needs --{option}")
    if not args.card.is_file():
        raise ExportError(f"--card {args.card} is not a file")
    try:
        facts = json.loads(args.facts.read_text(encoding="utf-8"))
        metrics = [Metric(**metric) for metric in facts.get("metrics", [])]
        found = {"training": dict(facts["training"]), "metrics": metrics, "licence": str(facts["licence"])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ExportError(f"--facts {args.facts} must hold training and licence: {exc!r}") from exc
    if args.evaluation:
        metrics += evaluated_metrics(args.evaluation, args.weights)
    return found


def evaluated_metrics(folder: Path, weights: Path) -> list[Metric]:
    """The figures of an evaluation. Raises ExportError if it evaluated other weights."""
    path = folder / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        digest, metrics = report["weights"]["sha256"], report_metrics(report)
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise ExportError(f"{path} is not the report of an evaluation: {exc!r}") from exc
    if weights.is_file() and digest != sha256_of(weights):
        raise ExportError(
            f"{path} evaluates {report['weights']['given']}, which is not {weights}: run evaluate on it"
        )
    return metrics


def clean_commit(root: Path) -> str:
    """HEAD of the repository. Raises ExportError if `training` or `model_store` has uncommitted changes."""
    try:
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "training", "model_store")
        if changed:
            raise ExportError(f"commit first, the manifest names the commit that exported: {changed}")
        return _git(root, "rev-parse", "HEAD")
    except (OSError, subprocess.CalledProcessError) as exc:
        raise ExportError(f"publishing needs git and a checkout at {root}: {exc}") from exc


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def publish(
    staging: Path, store: Path, name: str, *, version: int | None, facts: dict[str, Any], commit: str
) -> Artefact:
    """Put an exported folder into the model store. Raises ExportError with the store's reason."""
    about = read_checkpoint(staging / "weights" / "checkpoint.safetensors")[1]
    spec = pixel_spec(about["architecture"])
    training = {**facts["training"], "architecture": about["architecture"], "source": about["source"]}
    try:
        return ModelStore(store).publish(
            staging,
            name=name,
            version=version,
            pixels=spec,
            any_size=other_sizes(spec) if (staging / "onnx-any-size").is_dir() else (),
            training=training,
            metrics=facts["metrics"],
            licence=facts["licence"],
            git_commit=commit,
        )
    except ModelStoreError as exc:
        raise ExportError(str(exc)) from exc
