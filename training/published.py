"""Reads weight files that PaddleOCR and FudanOCR publish into numpy arrays.

    .pdparams     PaddleOCR: a pickle, in which only numpy arrays are allowed
    .pth          FudanOCR: torch.save, read with weights_only=True (extra `torch`)
    .safetensors  the keys of either

Reading a file never runs its code.
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar  # the names in numpy's pickles

from model_store.manifest import sha256_of
from training.errors import MissingExtra, UnreadableCheckpoint
from training.weights_file import METADATA_KEY, Weights, read_safetensors

Layout = Literal["paddleocr", "fudanocr"]
PREFIXES: dict[Layout, str] = {"paddleocr": "transform.", "fudanocr": "module."}
RECOGNISER = "transformer."
# Arrays that the published code stores but does not use: the GRUs of TSRN, a compression, FudanOCR's stem;
# then arrays that follow from the size (TPS), and PyTorch's batch counters.
DEAD = re.compile(
    r"block\d+\.gru[12]\.|.*\.compress_attention_linear\.|(conv|bn)\.[^.]+$|tps\.|.*\.num_batches_tracked$"
)
PADDLEOCR_KEEP = np.float32(0.9)  # 1 - p of its dropout
SCALED_BY_DROPOUT = ("multihead.linears.3.weight", "pff.w_2.weight")
NAME_TABLE = "StructuredToParameterName@@"  # bookkeeping of paddle.save


@dataclass(frozen=True)
class Published:
    """A published checkpoint: arrays by name, without the prefix of the code base."""

    path: Path
    sha256: str
    layout: Layout
    weights: Weights

    @property
    def telescope(self) -> Weights:
        """The arrays of the super-resolution network."""
        return {name: w for name, w in self.weights.items() if not name.startswith(RECOGNISER)}

    @property
    def live_telescope(self) -> Weights:
        """TBSRN's arrays without the unused ones; PaddleOCR's evaluation factor is multiplied into the weights."""
        live = {name: w for name, w in self.telescope.items() if not DEAD.match(name)}
        if self.layout == "fudanocr":
            return live
        return {n: w * PADDLEOCR_KEEP if n.endswith(SCALED_BY_DROPOUT) else w for n, w in live.items()}

    @property
    def recogniser(self) -> Weights:
        """The recogniser's arrays without the prefix `transformer.`; empty if the file holds none."""
        return {
            name.removeprefix(RECOGNISER): w for name, w in self.weights.items() if name.startswith(RECOGNISER)
        }


def read_published(path: Path) -> Published:
    """Read a file by its suffix. Raises UnreadableCheckpoint, or MissingExtra if torch is needed.

    The layout follows from the keys: Paddle names the statistics of a batch norm `_mean`.
    """
    reader = READERS.get(path.suffix)
    if reader is None:
        raise UnreadableCheckpoint(f"{path} must end in one of {', '.join(READERS)}")
    if not path.is_file():
        raise UnreadableCheckpoint(f"{path} is not a file")
    raw = dict(reader(path))
    raw.pop(NAME_TABLE, None)
    weights = {str(key): value for key, value in raw.items() if _is_numeric(value)}
    if not raw or len(weights) < len(raw):
        raise UnreadableCheckpoint(f"{path} does not hold named arrays alone, so it is not a checkpoint")
    layout: Layout = "paddleocr" if any(name.endswith("._mean") for name in weights) else "fudanocr"
    prefix = PREFIXES[layout]
    stripped = {name.removeprefix(prefix): value for name, value in weights.items()}
    return Published(path, sha256_of(path), layout, stripped)


def infer_architecture(weights: Weights) -> dict[str, Any]:
    """Arguments of `TBSRN` that follow from the keys; the size is not among them: published code fixes 16x64."""
    residual = [int(m[1]) for name in weights if (m := re.match(r"block(\d+)\.conv1\.", name))]
    blocks = max(residual, default=6) - 1
    doublings = sum(bool(re.match(rf"block{blocks + 3}\.\d+\.conv\.weight", name)) for name in weights)
    first = weights.get("block1.0.weight")
    return {
        "blocks": blocks,
        "hidden": 32 if first is None else len(first) // 2,
        "scale": 2 ** max(doublings, 1),
        "stn": any(name.startswith("stn_head.") for name in weights),
    }


def _is_numeric(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu"


def _read_pdparams(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as stream:
            content = ArrayUnpickler(stream).load()
    except Exception as exc:  # a damaged pickle can raise almost any exception
        raise UnreadableCheckpoint(f"{path} cannot be read as .pdparams: {exc}") from exc
    return _mapping(path, content)


def _read_torch(path: Path) -> Mapping[str, Any]:
    try:
        import torch
    except ImportError as exc:
        raise MissingExtra(f"{path} needs PyTorch: install the extra `torch` (text-telescope[torch])") from exc
    try:
        with torch.serialization.safe_globals([scalar, np.dtype, type(np.dtype(np.float64))]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:  # a damaged file can raise almost any exception
        reason = next(iter(str(exc).splitlines()), type(exc).__name__)  # torch appends pages of advice
        raise UnreadableCheckpoint(f"{path} cannot be read as .pth: {reason}") from exc
    content = _mapping(path, content)
    content = _mapping(path, content.get("state_dict_G", content))
    return {k: v.float().numpy() if isinstance(v, torch.Tensor) else v for k, v in content.items()}


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    weights, metadata = read_safetensors(path)
    if METADATA_KEY in metadata:
        raise UnreadableCheckpoint(f"{path} is a Text Telescope checkpoint already; use it as it is")
    return weights


def _mapping(path: Path, content: object) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise UnreadableCheckpoint(f"{path} holds a {type(content).__name__}, not named arrays")
    return content


READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    ".pdparams": _read_pdparams,
    ".pth": _read_torch,
    ".safetensors": _read_safetensors,
}


PICKLED_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # numpy 2
}


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles containers, numbers, strings and numpy arrays; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as pickle declares it
        try:
            return PICKLED_NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only arrays are allowed") from None
