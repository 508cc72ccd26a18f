"""Weights between PyTorch modules and our files, both ways and without loss.

    TBSRN, Recogniser <-> arrays under our names (Paddle's), linear weights as [in, out]
    load_telescope(path), load_recogniser(path): ours or published; save_telescope, save_recogniser: ours

The modules use FudanOCR's names, so that `load_state_dict` loads its files without renaming.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from training.engines.torch_net import TBSRN
from training.engines.torch_reader import Recogniser
from training.errors import ConfigError, UnreadableCheckpoint
from training.published import Layout, infer_architecture, read_published
from training.recogniser_weights import read_recogniser, write_recogniser
from training.weights_file import Weights, check_keys, read_checkpoint, write_checkpoint

_STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}
_READER = re.compile(r"^(embedding_word|generator_word)\.")


class Place(NamedTuple):
    """Place of an array of ours in a module: PyTorch's name, and whether PyTorch stores it transposed."""

    name: str
    transposed: bool


def places(module: nn.Module) -> dict[str, Place]:
    """Our name of every stored array -> its place; PyTorch's batch counters are not stored."""
    layers = dict(module.named_modules())
    found = {}
    for name in module.state_dict():
        path, _, last = name.rpartition(".")
        layer = layers[path]
        if last == "num_batches_tracked":
            continue
        if isinstance(layer, nn.PReLU):
            last = "_weight"
        ours = f"{path}.{_STATISTICS.get(last, last)}"
        ours = _READER.sub(r"\1_with_upperword.", ours)
        found[ours] = Place(name, isinstance(layer, nn.Linear) and last == "weight")
    return found


def to_arrays(module: nn.Module) -> Weights:
    """Every weight and statistic of a module under our name, float32."""
    tensors = module.state_dict()
    return {ours: as_array(tensors[place.name], place) for ours, place in places(module).items()}


def as_array(tensor: torch.Tensor, place: Place) -> np.ndarray:
    """Copy a tensor of a module, or its gradient, into our layout."""
    array = tensor.detach().cpu().numpy()
    return np.array(array.T if place.transposed else array, order="C")


def set_weights(module: nn.Module, weights: Weights, *, origin: str, layout: Layout = "paddleocr") -> None:
    """Set all weights of a module. layout: "fudanocr" for arrays in PyTorch's layout.

    Raises KeyMismatch, listing missing, unknown and misshapen arrays by name.
    """
    known = places(module)
    if layout == "fudanocr":
        weights = _from_torch(weights, known)
    tensors = module.state_dict()
    shapes = {o: tuple(tensors[p.name].shape)[:: -1 if p.transposed else 1] for o, p in known.items()}
    check_keys(weights, shapes, origin=origin)
    with torch.no_grad():
        for ours, (name, transposed) in known.items():
            array = np.ascontiguousarray(weights[ours].T if transposed else weights[ours], np.float32)
            tensors[name].copy_(torch.from_numpy(array))


def load_telescope(path: Path) -> TBSRN:
    """TBSRN of our checkpoint or a published one, in evaluation mode. Raises CheckpointError or a subclass."""
    layout: Layout = "paddleocr"
    if path.suffix == ".safetensors":
        weights, about = read_checkpoint(path)
        architecture = about["architecture"]
    else:
        published = read_published(path)
        weights, layout = published.live_telescope, published.layout
        architecture = infer_architecture(weights)
    try:
        network = TBSRN(**architecture)
    except (ConfigError, TypeError) as exc:
        raise UnreadableCheckpoint(f"{path} describes an impossible network: {exc}") from exc
    set_weights(network, weights, origin=str(path), layout=layout)
    network.eval()
    return network


def save_telescope(path: Path, network: TBSRN, *, source: Mapping[str, Any]) -> None:
    """Write our checkpoint, which every engine loads."""
    write_checkpoint(path, to_arrays(network), architecture=network.architecture, source=source)


def load_recogniser(path: Path) -> Recogniser:
    """A pretrained recogniser of ours or a published one, in evaluation mode."""
    stored = read_recogniser(path)
    network = Recogniser(stored.config)
    set_weights(network, stored.weights, origin=str(path), layout=stored.layout)
    network.eval()
    return network


def save_recogniser(path: Path, network: Recogniser, *, source: Mapping[str, Any]) -> None:
    """Write our recogniser file, which every engine loads."""
    write_recogniser(path, to_arrays(network), config=network.config, source=source)


def _from_torch(weights: Weights, known: Mapping[str, Place]) -> Weights:
    """Rename and transpose PyTorch's arrays to ours; unknown names stay, for `check_keys` to refuse."""
    ours = {place.name: (name, place.transposed) for name, place in known.items()}
    renamed = {}
    for name, value in weights.items():
        found, transposed = ours.get(name.replace("_with_upperword", ""), (name, False))
        renamed[found] = value.T if transposed else value
    return renamed
