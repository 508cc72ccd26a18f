"""Writes a model repository for Triton Inference Server from a published model.

    python -m training export --triton DIR
    tritonserver --model-repository=DIR

    model store -> the ONNX files, digests checked -> a folder beside DIR -> one rename -> DIR

    DIR/tbsrn/config.pbtxt            tiles of the trained size
    DIR/tbsrn/4/model.onnx
    DIR/tbsrn_any_size/config.pbtxt   tiles of the model's other sizes
    DIR/tbsrn_any_size/4/model.onnx

A repository is for one backend, because Triton loads every model of its repository. The fields and their rules are
in Triton's model_configuration.md and model_config.proto, and in model_config_utils.cc of its repository `core`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from string import Template

from model_store import BUNDLED
from model_store.durable import flush_to_disk
from model_store.errors import ModelStoreError
from model_store.manifest import PixelSpec
from model_store.pixels import Size
from model_store.store import Artefact, ModelStore
from training.errors import ExportError

MODEL, BATCH_SIZES = "tbsrn", (1, 4)  # the service's defaults
OPTIONS = ("model", "backend", "batch_sizes")
CONFIG = Template("""\
# $ref for the $backend backend of Triton, written by `python -m training export --triton`
name: "$name"
backend: "$backend"
default_model_filename: "model.onnx"
version_policy { specific { versions: [ $version ] } }
input [ { name: "lr" data_type: TYPE_FP32 dims: [ $lr ] } ]
output [ { name: "sr" data_type: TYPE_FP32 dims: [ $sr ] } ]
$batching
parameters { key: "model" value { string_value: "$ref" } }
parameters { key: "model_digest" value { string_value: "$digest" } }
parameters { key: "input_sizes" value { string_value: "$sizes" } }
model_warmup [
$warmups
]
""")
# Zeros, because Triton's random data are random bits, which can be NaN.
WARMUP = Template("""\
  {
    name: "$name"
    batch_size: $requests
    inputs { key: "lr" value { data_type: TYPE_FP32 dims: [ $dims ] zero_data: true } }
  }""")
BATCHING = {
    # From waiting requests Triton forms batches of the preferred sizes, which are those of the warm-up.
    # TF32 would round fp32 products to 10 bits.
    "onnxruntime": Template("""\
max_batch_size: $largest
dynamic_batching { preferred_batch_size: [ $batch_sizes ] }
instance_group [ { count: 1 kind: KIND_AUTO } ]
optimization { execution_accelerators {
  gpu_execution_accelerator [ { name: "cuda" parameters { key: "use_tf32" value: "0" } } ]
} }"""),
    # With a max_batch_size this backend runs batches of exactly that size; without, a request has any number.
    "openvino": Template("""\
max_batch_size: 0
instance_group [ { count: 1 kind: KIND_CPU } ]
parameters { key: "PERFORMANCE_HINT" value { string_value: "LATENCY" } }"""),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a model repository for Triton, from a published model")
    group.add_argument("--triton", type=Path, metavar="DIR", help="folder to write; new or empty")
    group.add_argument("--model", help=f"name, or name:version (default: {MODEL}, in its newest version)")
    group.add_argument("--backend", choices=sorted(BATCHING), help="Triton's backend (default: onnxruntime)")
    sizes = ",".join(map(str, BATCH_SIZES))
    group.add_argument("--batch-sizes", help=f"as TELESCOPE_BATCH_SIZES (default: {sizes}); larger for a GPU")


def run(args: argparse.Namespace) -> None:
    """Write the repository that the options choose. Raises ExportError."""
    sizes = BATCH_SIZES if args.batch_sizes is None else read_batch_sizes(args.batch_sizes)
    try:
        artefact = ModelStore(args.store or BUNDLED).resolve(args.model or MODEL)
        write_repository(artefact, args.triton, backend=args.backend or "onnxruntime", batch_sizes=sizes)
    except ModelStoreError as exc:
        raise ExportError(str(exc)) from exc
    print(f"{artefact.manifest.ref} is ready: tritonserver --model-repository={args.triton.resolve()}")


def read_batch_sizes(text: str) -> tuple[int, ...]:
    """ "4,1" -> (1, 4). Raises ExportError unless they are distinct and include 1, as the service demands."""
    try:
        sizes = sorted(int(part) for part in text.split(","))
    except ValueError:
        sizes = []
    if not sizes or sizes[0] != 1 or len(set(sizes)) != len(sizes):
        raise ExportError(f"--batch-sizes is {text!r}; give distinct numbers that include 1, such as 1,4,16")
    return tuple(sizes)


def write_repository(artefact: Artefact, out: Path, *, backend: str, batch_sizes: Sequence[int]) -> None:
    """Write a Triton model for the trained size and, if the artefact has other sizes, one for these.

    backend: "onnxruntime" or "openvino". batch_sizes: as `read_batch_sizes` gives them. `out` appears by one
    rename, so that Triton never finds a part of it. Raises ExportError if `out` exists and is not an empty folder,
    or cannot be written; ModelNotFound or DigestMismatch for the artefact's files.
    """
    out = out.resolve()
    trained, *others = artefact.manifest.input_sizes
    models = [TritonModel(artefact, (trained,), backend, batch_sizes, any_size=False)]
    if others:
        models.append(TritonModel(artefact, others, backend, batch_sizes, any_size=True))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
            repository = Path(work, out.name)
            for model in models:
                model.write(repository)
            for path in [*repository.rglob("*"), repository]:
                flush_to_disk(path)
            repository.rename(out)
    except OSError as exc:
        occupied = out.exists() and (not out.is_dir() or any(out.iterdir()))
        reason = "it exists and is not an empty folder; choose another" if occupied else str(exc)
        raise ExportError(f"{out} cannot be written: {reason}") from exc


@dataclass(frozen=True)
class TritonModel:
    """One network of an artefact as a model of Triton.

    sizes: (height, width) of its tiles. any_size: its file takes any height and width.
    """

    artefact: Artefact
    sizes: Sequence[Size]
    backend: str
    batch_sizes: Sequence[int]
    any_size: bool

    @property
    def name(self) -> str:
        return self.artefact.manifest.name + ("_any_size" if self.any_size else "")

    def write(self, repository: Path) -> None:
        """Write the model's folder. Raises OSError, and ModelNotFound or DigestMismatch for the network's file."""
        (network,) = self.artefact.files("onnx-any-size" if self.any_size else "onnx")
        version = repository / self.name / str(self.artefact.manifest.version)
        version.mkdir(parents=True)
        shutil.copyfile(network, version / "model.onnx")
        (repository / self.name / "config.pbtxt").write_text(self.config(), encoding="utf-8")

    def config(self) -> str:
        """The text of config.pbtxt."""
        manifest = self.artefact.manifest
        spec, batched = manifest.pixels, self.backend == "onnxruntime"
        batch = () if batched else (-1,)  # among the dims of a model whose requests Triton does not batch
        lr, sr = (
            [-1, -1] if self.any_size else [factor * side for side in self.sizes[0]] for factor in (1, spec.scale)
        )
        warmed = [(count, size) for size in self.sizes for count in batches(spec, size, self.batch_sizes)]
        counts = sorted({count for count, _ in warmed})
        return CONFIG.substitute(
            ref=manifest.ref,
            name=self.name,
            backend=self.backend,
            version=manifest.version,
            digest=self.artefact.digest,
            lr=_listed(*batch, 3, *lr),
            sr=_listed(*batch, 3, *sr),
            batching=BATCHING[self.backend].substitute(largest=counts[-1], batch_sizes=_listed(*counts)),
            sizes=",".join(f"{height}x{width}" for height, width in self.sizes),
            warmups=",\n".join(_warmup(count, size, batched=batched) for count, size in warmed),
        )


def batches(spec: PixelSpec, size: Size, batch_sizes: Sequence[int]) -> tuple[int, ...]:
    """The batch sizes of tiles of this size: of the larger ones fewer, as in the service.

    A batch holds no more windows, each a tile of the trained size, than the largest batch of the trained size.
    """
    windows = ceil(prod(size) / (spec.height * spec.width))
    return tuple(count for count in batch_sizes if count == 1 or count * windows <= max(batch_sizes))


def _warmup(count: int, size: Size, *, batched: bool) -> str:
    """Triton joins `batch_size` requests of one tile, or sends one request of `count` tiles."""
    dims = (3, *size) if batched else (count, 3, *size)
    name = f"{count}x3x{size[0]}x{size[1]}"
    return WARMUP.substitute(name=name, requests=count if batched else 1, dims=_listed(*dims))


def _listed(*numbers: int) -> str:
    return ", ".join(map(str, numbers))
