"""Reads weight files that PaddleOCR and FudanOCR publish into numpy arrays.

    .pdparams     PaddleOCR: a pickle, in which only numpy's arrays and numbers are allowed
    .pth          FudanOCR: torch.save, read with weights_only=True (extra `torch`), by numpy 1 or 2
    .safetensors  the keys of either

Reading a file never runs its code. Everything else beside the weights is left.
"""

from __future__ import annotations

import codecs
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar
from numpy._core.numeric import _frombuffer  # type: ignore[attr-defined]

from model_store.manifest import sha256_of
from training.errors import UnreadableCheckpoint
from training.optional import needs
from training.weights_file import LISTED_KEYS, METADATA_KEY, Weights, read_safetensors

Layout = Literal["paddleocr", "fudanocr"]
PREFIXES: dict[Layout, str] = {"paddleocr": "transform.", "fudanocr": ""}
WRAPPERS = re.compile(r"^((module|_layers|_orig_mod)\.)+")  # of DataParallel (PyTorch, Paddle), and torch.compile
NESTED = ("state_dict_G", "state_dict", "model_state_dict", "model", "net", "network", "params_ema", "params")
RECOGNISER = "transformer."
# Arrays that the published code stores but does not use: the GRUs of TSRN, a compression, FudanOCR's stem;
# then arrays that follow from the size (TPS), and PyTorch's batch counters.
DEAD = re.compile(
    r"block\d+\.gru[12]\.|.*\.compress_attention_linear\.|(conv|bn)\.[^.]+$|tps\.|.*\.num_batches_tracked$"
)
PADDLEOCR_KEEP = np.float32(0.9)  # 1 - p of its dropout
SCALED_BY_DROPOUT = ("multihead.linears.3.weight", "pff.w_2.weight")
NOT_DOWNLOADED = {  # beginnings of files, in lower case
    b"version https://git-lfs": "a pointer of Git LFS (`git lfs pull` replaces it)",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}
NAME_TABLE = "StructuredToParameterName@@"  # bookkeeping of paddle.save


@dataclass(frozen=True)
class Published:
    """A published checkpoint: arrays by name, without the prefix of the code base."""

    path: Path
    sha256: str
    layout: Layout
    weights: Weights
    beside: tuple[str, ...] = ()  # keys of everything else in the file, such as `epoch`

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
    with path.open("rb") as stream:
        start = stream.read(64).lstrip().lower()
    for beginning, found in NOT_DOWNLOADED.items():
        if start.startswith(beginning):
            raise UnreadableCheckpoint(f"{path} holds {found} in the place of the weights; download it again")
    content = dict(reader(path))
    nested = next((key for key in NESTED if isinstance(content.get(key), Mapping)), None)
    raw = content if nested is None else dict(content.pop(nested))
    weights = {str(key): value for key, value in raw.items() if _is_numeric(value)}
    others = {str(key) for key in (*content, *raw)} - weights.keys() - {NAME_TABLE}
    if not weights:
        found = f"only {', '.join(sorted(others)[:LISTED_KEYS])}" if others else "nothing"
        raise UnreadableCheckpoint(f"{path} holds {found}, and no named arrays, so it is not a checkpoint")
    layout: Layout = "paddleocr" if any(name.endswith("._mean") for name in weights) else "fudanocr"
    stripped = {WRAPPERS.sub("", name).removeprefix(PREFIXES[layout]): value for name, value in weights.items()}
    return Published(path, sha256_of(path), layout, stripped, tuple(sorted(others)))


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
    with needs(str(path), "torch", extra="torch"):
        import torch

    def arrays(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: arrays(inner) for key, inner in value.items()}
        return value.detach().float().numpy() if isinstance(value, torch.Tensor) else value

    with torch.serialization.safe_globals([*DTYPES, *_named_for_torch()]):
        try:
            content = arrays(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as exc:  # a damaged file can raise almost any exception, and a sparse tensor is no array
            raise UnreadableCheckpoint(f"{path} cannot be read as .pth: {_reason(path, exc)}") from exc
    return _mapping(path, content)


def _named_for_torch() -> list[tuple[Any, str]]:
    """The names that torch does not allow by itself."""
    names = ((f"{module}.{name}", allowed) for (module, name), allowed in PICKLED_NAMES.items())
    return [(allowed, name) for name, allowed in names if name.startswith(("numpy.", "argparse."))]


def _reason(path: Path, refusal: Exception) -> str:
    """The names that the file asks for, or torch's own reason without its advice and colours."""
    import torch

    names = re.findall(r"Unsupported global: GLOBAL (\S+)|but got <class '(\S+)'>", str(refusal))
    asked = {name for either in names for name in either if name}  # the first that is not allowed
    with suppress(Exception):  # the file is damaged, or of the form before PyTorch 1.6
        asked.update(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    if asked:
        return f"it asks for {', '.join(sorted(asked)[:LISTED_KEYS])}, and only arrays and numbers are allowed"
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(refusal))
    found = re.search(r"WeightsUnpickler error:\s*(\S.*)", text) or re.search(r"(\S.*)", text)
    return found[1] if found else type(refusal).__name__


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


class _Arguments:
    """Arguments of a training command, in the place of argparse's class, which a file could change."""


PICKLED_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("argparse", "Namespace"): _Arguments,
    ("_codecs", "encode"): codecs.encode,  # of bytes, in the pickles of protocol 2
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.{module}", function.__name__): function
        for core in ("core", "_core")  # of numpy 1 and 2
        for module, function in (("multiarray", _reconstruct), ("multiarray", scalar), ("numeric", _frombuffer))
    },
}
DTYPES = [type(np.dtype(code)) for code in "?bhilqBHILQefdgFDGSUmM"]  # of every scalar but objects and records


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles containers, numbers, strings, numpy arrays and arguments; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as pickle declares it
        try:
            return PICKLED_NAMES[module, name]
        except KeyError:
            asked = f"it asks for {module}.{name}, and only arrays and numbers are allowed"
            raise pickle.UnpicklingError(asked) from None
