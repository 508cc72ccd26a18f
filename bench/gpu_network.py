"""`python -m bench gpu`: the device's ceilings, and the network beside them."""

from __future__ import annotations

import argparse
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from app.inference.runtimes.torch_network import FoldedTBSRN, read_weights
from app.inference.runtimes.torch_runtime import TYPES, capture, kernels
from bench.harness.report import Report, Table
from model_store.store import Artefact, ModelStore

ON_GPU = torch.cuda.is_available()
PLACE = torch.device("cuda" if ON_GPU else "cpu")
BATCHES = (1, 8, 32, 128, 256, 512) if ON_GPU else (1, 4)
COMPILED = (128, 1, 512) if ON_GPU else (1,)  # in this order, as each takes long
LEAST_S = 0.2 if ON_GPU else 0.1  # of each measurement
PRODUCT = 8192 if ON_GPU else 1024  # rows and columns of the matrix products
COPIED = 2**30 if ON_GPU else 2**26  # bytes
HALF = "fp16" if ON_GPU else "fp32"  # a CPU without instructions for it takes seconds for each image
GRAPH = f"{HALF}, CUDA graph"


def device_facts() -> dict[str, Any]:
    facts: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version()}
    if not ON_GPU:
        return facts | {"name": "CPU", "threads": torch.get_num_threads()}
    found = torch.cuda.get_device_properties(0)
    sizes = {"memory_gib": found.total_memory / 2**30, "multiprocessors": found.multi_processor_count}
    return facts | {"name": found.name, "cuda": torch.version.cuda, **sizes}


def device_name(facts: Mapping[str, Any]) -> str:
    cuda = f", CUDA {facts['cuda']}" if "cuda" in facts else ""
    return f"{facts['name']}, PyTorch {facts['torch']}{cuda}"


def seconds(work: Callable[[], object]) -> float:
    """Seconds that one call takes on the device, over calls in a row after one that warms."""
    work()
    _wait()
    calls, began = 0, time.perf_counter()
    while calls < 2 or time.perf_counter() - began < LEAST_S:
        work()
        calls += 1
        if calls % 8 == 0 or not ON_GPU:  # so that calls cannot pile up beyond the time
            _wait()
    _wait()
    return (time.perf_counter() - began) / calls


def ceilings(report: Report) -> None:
    """FLOP/s of square matrix products, and bytes a second of copies (bytes read and written)."""
    found = report.figures["ceilings"] = dict[str, float]()
    for name in dict.fromkeys(("fp32", HALF, "bf16") if ON_GPU else ("fp32",)):
        a, b = (torch.randn(PRODUCT, PRODUCT, device=PLACE, dtype=TYPES[name]) for _ in range(2))
        out = torch.empty_like(a)
        found[name] = 2 * PRODUCT**3 / seconds(partial(torch.mm, a, b, out=out))
    source = torch.ones(COPIED // 4, device=PLACE)
    target = torch.empty_like(source)
    found["copy"] = 2 * COPIED / seconds(lambda: target.copy_(source))
    if ON_GPU:
        host = torch.ones(COPIED // 4, pin_memory=True)
        found["to the GPU"] = COPIED / seconds(lambda: source.copy_(host, non_blocking=True))
        found["from the GPU"] = COPIED / seconds(lambda: host.copy_(source, non_blocking=True))


def opened(artefact: Artefact, precision: str) -> FoldedTBSRN:
    (path,) = artefact.files("weights")
    return FoldedTBSRN(*read_weights(path)).to(PLACE, TYPES[precision])


def artefacts(args: argparse.Namespace) -> list[Artefact]:
    return [ModelStore(args.model_store).resolve(ref) for ref in args.model.split(",")]


@torch.no_grad()
def network(report: Report, args: argparse.Namespace) -> None:
    """Images of the trained size a second, by model, way and batch size."""
    speeds = report.figures["network"] = dict[str, dict[str, dict[int, float]]]()
    counted = report.figures["counted"] = dict[str, dict[str, Any]]()
    for artefact in artefacts(args):
        speeds[artefact.manifest.ref] = {}
        counted[artefact.manifest.ref] = operations(opened(artefact, HALF), images(artefact, 1))
    # the most important first, as the time may be over
    for way, precision in {**({GRAPH: HALF} if ON_GPU else {}), HALF: HALF, "fp32": "fp32"}.items():
        for artefact in artefacts(args):
            run, found = opened(artefact, precision), dict[int, float]()
            speeds[artefact.manifest.ref][way] = found
            for batch in BATCHES:
                with kernels(exact=precision == "fp32"):
                    lr = images(artefact, batch)
                    found[batch] = batch / seconds(graph(run, lr) if way == GRAPH else partial(run, lr))


@torch.no_grad()
def profile(report: Report, args: argparse.Namespace) -> None:
    """The kernels that take most of the first model's time, in the largest batch."""
    artefact = artefacts(args)[0]
    run, lr = opened(artefact, HALF), images(artefact, BATCHES[-1])
    activity = torch.profiler.ProfilerActivity.CUDA if ON_GPU else torch.profiler.ProfilerActivity.CPU
    with kernels(exact=HALF == "fp32"):
        run(lr)
        with torch.profiler.profile(activities=[activity]) as found:
            for _ in range(3):
                run(lr)
            _wait()
    times = {
        one.key: one.self_device_time_total if ON_GPU else one.self_cpu_time_total for one in found.key_averages()
    }
    total = sum(times.values())
    shares = {name: taken / total for name, taken in sorted(times.items(), key=lambda item: -item[1]) if taken}
    report.figures["profile"] = shares
    rows = [(f"`{name[:90]}`".replace("|", "/"), f"{share:.0%}") for name, share in [*shares.items()][:10]]
    title = f"{artefact.manifest.ref} in {HALF}, batches of {len(lr)}: share of the time by kernel"
    report.tables["profile"] = Table(title, ("kernel", "share"), rows)


@torch.no_grad()
def compiled(report: Report, args: argparse.Namespace) -> None:
    """The same by torch.compile, its kernels as a CUDA graph on a GPU; it takes long, so it comes last."""
    speeds = report.figures.setdefault("network", {})
    for artefact in artefacts(args):
        way = f"{GRAPH}, compiled" if ON_GPU else "fp32, compiled"
        found = speeds.setdefault(artefact.manifest.ref, {})[way] = dict[int, float]()
        run = torch.compile(opened(artefact, HALF if ON_GPU else "fp32"), dynamic=False)
        for batch in COMPILED:
            with kernels(exact=not ON_GPU):
                lr = images(artefact, batch)
                found[batch] = batch / seconds(graph(run, lr) if ON_GPU else partial(run, lr))


def graph(run: Callable[[Tensor], Tensor], lr: Tensor) -> Callable[[], None]:
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        return capture(lambda: run(lr), stream, None)[1]


def images(artefact: Artefact, count: int) -> Tensor:
    spec = artefact.manifest.pixels
    return torch.rand(count, 3, spec.height, spec.width, device=PLACE)


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes that each called kernel reads and writes, if none stay in a cache; without the network's weights."""

    def __init__(self, run: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = {one.untyped_storage().data_ptr() for one in run.parameters()}
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [one for one in tree_leaves((args, kwargs, result)) if isinstance(one, Tensor)]
            moved = [one for one in tensors if one.untyped_storage().data_ptr() not in self._weights]
            self.bytes[func.overloadpacket.__name__] += sum(one.numel() * one.element_size() for one in moved)
        return result


def operations(run: nn.Module, lr: Tensor) -> dict[str, Any]:
    """Of one image: multiplications and additions in products and convolutions; bytes, in all and by kernel.

    The weights, which are read once for a whole batch, are left out.
    """
    # the fused attention of some devices is not counted
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as flops:
        run(lr)
    with Traffic(run) as traffic:
        run(lr)
    by_kernel = {name: moved / len(lr) for name, moved in traffic.bytes.most_common() if moved}
    return {"flop": flops.get_total_flops() / len(lr), "bytes": sum(by_kernel.values()), "by_kernel": by_kernel}


def _wait() -> None:
    if ON_GPU:
        torch.cuda.synchronize()


def tables(report: Report) -> None:
    """Of all that was measured."""
    figures = report.figures
    if found := figures.get("ceilings"):
        cells = [
            f"{rate / 1e12:.3g} TFLOP/s" if name in TYPES else f"{rate / 1e9:.3g} GB/s"
            for name, rate in found.items()
        ]
        title = f"Matrix products of {PRODUCT} x {PRODUCT}, and copies of {COPIED // 2**20} MiB"
        report.tables["ceilings"] = Table(title, list(found), [cells])
    rows = [
        _row(f"{model}, {way}", by_batch, figures, figures.get("counted", {}).get(model))
        for model, ways in figures.get("network", {}).items()
        for way, by_batch in ways.items()
        if by_batch
    ]
    for model, counted in figures.get("counted", {}).items():
        largest = list(counted["by_kernel"].items())[:6]
        title = (
            f"{model}: {counted['flop'] / 1e9:.2f} GFLOP an image in products and convolutions; its kernels move"
        )
        cells = [f"{counted['bytes'] / 1e6:.1f} MB", *(f"{moved / 1e6:.1f} MB" for _, moved in largest)]
        columns = ("an image, all kernels", *(name for name, _ in largest))
        report.tables[f"traffic-{model}"] = Table(title, columns, [cells])
    if rows:
        columns = (
            "",
            *(f"batch {n}" for n in BATCHES),
            "TFLOP/s at best",
            f"of the {HALF} rate",
            "of the roofline",
        )
        report.tables["network"] = Table("Images of 16x64 a second", columns, rows)


def _row(name: str, found: Mapping[int, float], figures: Any, counted: Mapping[str, Any] | None) -> list[str]:  # noqa: ANN401
    cells = [f"{found[n]:,.0f}" if n in found else "" for n in BATCHES]
    rates = figures.get("ceilings", {})
    if not counted or HALF not in rates or "copy" not in rates:
        return [name, *cells, "", "", ""]
    best, flop = max(found.values()), counted["flop"]
    # fp32 kernels move twice the bytes, by which the roofline of the half precision is the higher one
    limit = min(rates[HALF] / flop, rates["copy"] / counted["bytes"])
    return [name, *cells, f"{best * flop / 1e12:.3g}", f"{best * flop / rates[HALF]:.0%}", f"{best / limit:.0%}"]
