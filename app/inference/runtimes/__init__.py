"""The choice of the runtime. A runtime's library is imported only if that runtime is chosen.

TELESCOPE_RUNTIME=auto  ->  Paddle Inference when the installed Paddle sees a GPU, else OpenVINO on CPU
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from app.errors import StartupError
from app.inference.runtimes.base import Precision, Runtime, first_line
from model_store.store import Artefact

# name -> (module that must be installed, our module, class, the extra that installs it)
RUNTIMES = {
    "openvino": ("openvino", "app.inference.runtimes.openvino_runtime", "OpenVinoRuntime", "cpu"),
    "onnx": ("onnxruntime", "app.inference.runtimes.onnx_runtime", "OnnxRuntime", "onnx"),
    "paddle": ("paddle", "app.inference.runtimes.paddle_runtime", "PaddleRuntime", "paddle"),
}


def choose(runtime: str, device: str) -> str:
    """The name of the runtime that `auto` stands for; any other name is returned as it is.

    Raises StartupError for `auto` with a GPU that Paddle does not see.
    """
    if runtime != "auto":
        return runtime
    gpu = device != "cpu" and _paddle_sees_gpu()
    if device.startswith("gpu") and not gpu:
        raise StartupError(
            f"TELESCOPE_DEVICE={device}, but no installed Paddle sees a GPU; install paddlepaddle-gpu, choose "
            "TELESCOPE_RUNTIME=onnx with onnxruntime-gpu, or set TELESCOPE_DEVICE=cpu."
        )
    return "paddle" if gpu else "openvino"


def open_runtime(runtime: str, artefact: Artefact, *, device: str, threads: int, precision: Precision) -> Runtime:
    """Load `artefact` into the chosen runtime. A runtime of one stream may only be used by the calling thread.

    Raises StartupError naming the missing package, device or precision, or a ModelStoreError for a bad artefact.
    """
    chosen = choose(runtime, device)
    package, module, cls, extra = RUNTIMES[chosen]
    if find_spec(package) is None:
        raise StartupError(
            f"The runtime {chosen} (TELESCOPE_RUNTIME={runtime}) needs the package {package}, which is not "
            f"installed; run: pip install 'text-telescope[{extra}]' or choose another runtime."
        )
    open_chosen = getattr(_imported(module, package), cls)
    opened: Runtime = open_chosen(artefact, device=device, threads=threads, precision=precision)
    return opened


def _imported(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except (ImportError, OSError) as exc:  # a shared library is missing, or built for another system
        raise StartupError(
            f"The package {package} is installed but cannot be loaded ({first_line(exc)}); reinstall it, or "
            "choose another with TELESCOPE_RUNTIME."
        ) from exc


def _paddle_sees_gpu() -> bool:
    if find_spec("paddle") is None:
        return False
    return bool(_imported("app.inference.runtimes.paddle_runtime", "paddle").visible_gpus())
