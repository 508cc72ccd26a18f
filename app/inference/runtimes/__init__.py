"""The choice of the runtime. A runtime's library is imported only if that runtime is tried.

TELESCOPE_RUNTIME=auto  ->  the first of PyTorch, Paddle Inference and ONNX Runtime that sees a GPU, else the first
                            that can be loaded of OpenVINO, ONNX Runtime, Paddle Inference and PyTorch on CPU; a
                            warning for each that is broken
"""

import logging
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.util import find_spec

from app.errors import StartupError
from app.inference.driver import has_nvidia_driver
from app.inference.runtimes.base import Precision, Runtime
from model_store.optional import optional, state
from model_store.store import Artefact

# name -> (module that must be installed, our module, class, the extra that installs it); in the order of `auto`
RUNTIMES = {
    "openvino": ("openvino", "app.inference.runtimes.openvino_runtime", "OpenVinoRuntime", "cpu"),
    "onnx": ("onnxruntime", "app.inference.runtimes.onnx_runtime", "OnnxRuntime", "onnx"),
    "paddle": ("paddle", "app.inference.runtimes.paddle_runtime", "PaddleRuntime", "paddle"),
    "torch": ("torch", "app.inference.runtimes.torch_runtime", "TorchRuntime", "torch"),
}
ON_GPU = ("torch", "paddle", "onnx")  # in the order in which `auto` asks each whether it sees a GPU
Note = tuple[int, str]  # a level and a line for the log
log = logging.getLogger("telescope")


class _CannotBeLoaded(StartupError):
    """A runtime's package is missing or broken; its cause is the library's exception."""


def open_runtime(runtime: str, artefact: Artefact, *, device: str, threads: int, precision: Precision) -> Runtime:
    """Load `artefact` into the chosen runtime. A runtime of one stream may only be used by the calling thread.

    Raises StartupError naming the package that cannot be loaded, the device or the precision, or a ModelStoreError
    for a bad artefact.
    """

    def opened(name: str) -> Runtime:
        _, module, cls, _ = RUNTIMES[name]
        with _loading(name, runtime):
            open_chosen = getattr(import_module(module), cls)
            made: Runtime = open_chosen(artefact, device=device, threads=threads, precision=precision)
        return made

    if runtime != "auto":
        return opened(runtime)
    names, notes = auto_order(device)
    states = []
    for name in names:
        try:
            found = opened(name)
        except _CannotBeLoaded as exc:
            notes.append((logging.WARNING, str(exc)))
            states.append(_state(name, exc))
            continue
        for level, note in notes:
            log.log(level, note)
        return found
    raise StartupError(
        f"TELESCOPE_RUNTIME=auto needs one of {len(RUNTIMES)} packages, but {', '.join(states)}; install one: "
        "pip install --force-reinstall 'text-telescope[cpu]'."
    )


def auto_order(device: str) -> tuple[list[str], list[Note]]:
    """The runtimes that `auto` tries, in order; notes on those that were not asked for a GPU, or are broken.

    Importing PyTorch or Paddle takes seconds and hundreds of MiB, so neither is asked where there is no driver.
    Raises StartupError for a gpu:N that none of them sees.
    """
    on_cpu = list(RUNTIMES)
    installed = [name for name in ON_GPU if find_spec(RUNTIMES[name][0])]
    if device == "cpu":
        return on_cpu, []
    if device == "auto" and not has_nvidia_driver():
        idle = [RUNTIMES[name][0] for name in installed if name != "onnx"]
        said = f"{' and '.join(idle)}: installed, but not loaded, since there is no NVIDIA driver"
        return on_cpu, [(logging.INFO, said)] if idle else []
    notes: list[Note] = []
    states = [f"{RUNTIMES[name][0]} is not installed" for name in ON_GPU if name not in installed]
    for name in installed:
        try:
            with _loading(name, "auto"):
                sees_gpu = import_module(RUNTIMES[name][1]).visible_gpus() > 0
        except _CannotBeLoaded as exc:
            notes.append((logging.WARNING, str(exc)))
            states.append(_state(name, exc))
            continue
        if sees_gpu:
            return [name, *(other for other in on_cpu if other != name)], notes
        states.append(f"{RUNTIMES[name][0]} sees no GPU")
    if device != "auto":
        raise StartupError(
            f"TELESCOPE_DEVICE={device} needs a runtime that sees a GPU, but {', '.join(states)}; install a build "
            "for your driver's CUDA version (docs/deployment.md), or set TELESCOPE_DEVICE=cpu."
        )
    return on_cpu, notes


def _state(name: str, exc: Exception) -> str:
    package = RUNTIMES[name][0]
    return f"{package} {state(package, exc.__cause__ or exc)}"


def _loading(name: str, runtime: str) -> AbstractContextManager[None]:
    package, _, _, extra = RUNTIMES[name]
    return optional(
        f"The runtime {name} (TELESCOPE_RUNTIME={runtime})",
        package,
        extra=extra,
        error=_CannotBeLoaded,
        also=", or choose another runtime",
    )
