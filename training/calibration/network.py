"""Opens the network that is calibrated: a model of the store at each of its input sizes, or a checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_store import BUNDLED
from model_store.errors import ModelStoreError
from model_store.manifest import PixelSpec
from model_store.pixels import Nchw, Size
from model_store.store import Artefact, ModelStore
from training.errors import CheckpointError
from training.predictor import open_weights

PRECISION = "fp32"  # of `open_weights` in every engine


@dataclass(frozen=True)
class Network:
    """name: `tbsrn:1`, or the file's name. digest: of the model's manifest, or SHA-256 of the file.

    runs: for each input size the function LR float32 (N, 3, h, w) -> SR; the trained size comes first.
    artefact: None for a checkpoint.
    """

    name: str
    digest: str
    engine: str
    spec: PixelSpec
    runs: Mapping[Size, Callable[[Nchw], Nchw]]
    artefact: Artefact | None = None


def add_network(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", default="tbsrn", help="of the model store (default: the newest %(default)s)")
    which.add_argument("--weights", help="a checkpoint or exported file instead, run at its trained input size")
    parser.add_argument("--model-store", type=Path, default=BUNDLED, help="folder (default: the bundled one)")


def open_network(model: str, *, weights: str | None, store: Path) -> Network:
    """`model` of the store, or the file `weights` if it is given.

    Raises CheckpointError for an unusable model, MissingExtra for a missing package.
    """
    if weights:
        found = open_weights(weights)
        return Network(found.name, found.sha256, found.engine, found.spec, {_trained(found.spec): found.run})
    try:
        return _published(ModelStore(store).resolve(model))
    except ModelStoreError as exc:
        raise CheckpointError(f"{model} cannot be calibrated: {exc}") from exc


def _published(artefact: Artefact) -> Network:
    """The trained size has a file of its own; the other input sizes share one file."""
    manifest = artefact.manifest
    trained = open_weights(str(artefact.files("onnx")[0]))
    runs = {_trained(manifest.pixels): trained.run}
    if manifest.any_size:
        any_size = open_weights(str(artefact.files("onnx-any-size")[0]))
        runs |= {size: any_size.run for size in manifest.input_sizes if size not in runs}
    return Network(manifest.ref, artefact.digest, trained.engine, manifest.pixels, runs, artefact)


def _trained(spec: PixelSpec) -> Size:
    return spec.height, spec.width
