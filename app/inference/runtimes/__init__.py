"""The choice of the runtime. A runtime's library is imported only if that runtime is tried.

TELESCOPE_RUNTIME=auto  ->  Paddle Inference on a GPU that it sees, else the first that can be loaded of
                            OpenVINO, ONNX Runtime and Paddle Inference on CPU; a warning for each left out
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
}
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
    if device.startswith("gpu"):
        return opened("paddle")
    names, notes = auto_order(device)
    states = []
    for name in names:
        try:
            found = opened(name)
        except _CannotBeLoaded as exc:
            notes.append((logging.WARNING, str(exc)))
            states.append(f"{RUNTIMES[name][0]} {state(RUNTIMES[name][0], exc.__cause__ or exc)}")
            continue
        for level, note in notes:
            log.log(level, note)
        return found
    raise StartupError(
        f"TELESCOPE_RUNTIME=auto needs one of three packages, but {', '.join(states)}; install one: "
        "pip install --force-reinstall 'text-telescope[cpu]'."
    )


def auto_order(device: str) -> tuple[list[str], list[tuple[int, str]]]:
    """The runtimes that `auto` tries on cpu or auto, in order; a line for the log if Paddle was not asked.

    Importing Paddle takes seconds and 250 MiB, so it is not asked where there is no driver.
    """
    on_cpu = list(RUNTIMES)
    if device == "cpu" or find_spec("paddle") is None:
        return on_cpu, []
    if not has_nvidia_driver():
        return on_cpu, [(logging.INFO, "Paddle is installed, but not loaded, since there is no NVIDIA driver")]
    try:
        with _loading("paddle", "auto"):
            from app.inference.runtimes.paddle_runtime import visible_gpus

            sees_gpu = visible_gpus() > 0
    except _CannotBeLoaded as exc:
        return on_cpu, [(logging.WARNING, str(exc))]
    return ["paddle", "openvino", "onnx"] if sees_gpu else on_cpu, []


def _loading(name: str, runtime: str) -> AbstractContextManager[None]:
    package, _, _, extra = RUNTIMES[name]
    return optional(
        f"The runtime {name} (TELESCOPE_RUNTIME={runtime})",
        package,
        extra=extra,
        error=_CannotBeLoaded,
        also=", or choose another runtime",
    )
