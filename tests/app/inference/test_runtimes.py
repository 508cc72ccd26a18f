"""Every runtime on the bundled model: the same pixels, and a clear error when one cannot start."""

import importlib.util
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from app.errors import InferenceFailed, OutOfMemory, StartupError
from app.inference import driver, runtimes
from app.inference.predictor import Predictor
from app.inference.runtimes import ON_GPU, RUNTIMES, auto_order, open_runtime
from app.inference.runtimes.base import Precision, Runtime, inference_error
from model_store.pixels import Nchw
from model_store.store import Artefact
from tests.app.conftest import SPEC
from tests.app.fakes import FakeRuntime, nearest_x2
from tests.app.process import wait_until


def opened(name: str, artefact: Artefact, precision: Precision = "fp32") -> Runtime:
    pytest.importorskip(RUNTIMES[name][0])
    return open_runtime(name, artefact, device="cpu", threads=1, precision=precision)


def batch(n: int) -> Nchw:
    return np.random.default_rng(n).random((n, 3, 16, 64), np.float32)


@pytest.fixture(scope="module")
def sr(bundled: Artefact) -> Nchw:
    """Of batch(4), by OpenVINO."""
    return opened("openvino", bundled).run(batch(4))


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_computes_the_same_row_by_row_and_never_writes_into_an_earlier_result(
    name: str, bundled: Artefact, sr: Nchw
) -> None:
    with ThreadPoolExecutor(1) as thread:
        runtime = thread.submit(opened, name, bundled).result()
        assert (runtime.name, runtime.device) == (name, "cpu")
        four = thread.submit(runtime.run, batch(4)).result()
        kept = four.copy()
        other = thread.submit(runtime.run, batch(2)).result()
        single = thread.submit(runtime.run, batch(4)[2:3]).result()
        thread.submit(runtime.close).result()
    assert four.dtype == np.float32
    assert four.shape == (4, 3, 32, 128)
    assert np.abs(four - sr).max() < 1e-4
    assert other.shape == (2, 3, 32, 128)
    assert (four == kept).all()
    assert np.abs(single[0] - four[2]).max() < 1e-4, "a row depends on the other rows"


def test_bf16_is_near_fp32_and_what_auto_takes(bundled: Artefact, sr: Nchw) -> None:
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bf16")
    reduced = opened("openvino", bundled, "auto")
    assert reduced.precision == "bf16"
    difference = np.abs(reduced.run(batch(4)) - sr)
    assert 0 < difference.mean() < 0.01


@pytest.mark.parametrize("pays", [True, False])
def test_openvino_runs_one_batch_on_all_threads_only_if_that_was_measured_to_be_faster(
    pays: bool, bundled: Artefact, sr: Nchw, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino_runtime = pytest.importorskip("app.inference.runtimes.openvino_runtime")
    measured: list[bool] = []

    def together_pays(together: object, at_once: object) -> bool:
        measured.append(pays)
        return pays

    monkeypatch.setattr(openvino_runtime, "together_pays", together_pays)
    runtime = open_runtime("openvino", bundled, device="cpu", threads=2, precision="fp32")
    assert runtime.streams == (1 if pays else 2)
    assert len(measured) == 1
    sizes = [1, 3, 1, 3]
    with ThreadPoolExecutor(runtime.streams) as pool:
        for size, found in zip(sizes, pool.map(lambda size: runtime.run(batch(4)[:size]), sizes), strict=True):
            assert np.abs(found - sr[:size]).max() < 1e-4


@pytest.mark.parametrize("delay", [0.0, 0.02])
def test_the_faster_way_to_use_the_threads_is_chosen(delay: float) -> None:
    openvino_runtime = pytest.importorskip("app.inference.runtimes.openvino_runtime")
    assert openvino_runtime.together_pays(lambda: time.sleep(delay), lambda: time.sleep(0.01)) is (delay == 0)


def test_every_stream_is_warmed_and_a_blocking_call_splits_its_batch_over_them() -> None:
    runtime = FakeRuntime()
    runtime.streams = 2
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[1, 2])
    lr = np.random.default_rng(0).random((4, 3, 16, 64), np.float32)
    predictor.batch_seconds = {(16, 64): {1: 1.0, 2: 1.5}}
    before = len(runtime.batches)
    assert np.array_equal(predictor.run_blocking(lr), nearest_x2(lr))
    assert runtime.batches[before:] == [2, 2]
    assert np.array_equal(predictor.run_blocking(lr[:1]), nearest_x2(lr[:1]))
    predictor.close()
    assert runtime.closed


@pytest.mark.parametrize(
    ("name", "asked"), [("onnx", "bf16"), ("paddle", "fp16"), ("openvino", "fp16"), ("torch", "fp16")]
)
def test_a_precision_that_the_runtime_lacks_stops_the_start(
    name: str, asked: Precision, bundled: Artefact
) -> None:
    with pytest.raises(StartupError, match=rf"TELESCOPE_PRECISION={asked} cannot be had from.*fp32.*or auto"):
        opened(name, bundled, asked)


def test_without_bf16_in_the_processor_auto_is_fp32(bundled: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    assert opened("openvino", bundled, "auto").precision == "fp32"
    with pytest.raises(StartupError, match="which computes in fp32;"):
        opened("openvino", bundled, "bf16")


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_missing_package_is_named_with_the_extra_that_installs_it(
    name: str, bundled: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, module, _, extra = RUNTIMES[name]
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StartupError, match=rf"{package}, which is not installed.*text-telescope\[{extra}\]"):
        open_runtime(name, bundled, device="cpu", threads=0, precision="fp32")


CUDA = 'raise ImportError("libcuda.so.1: cannot open shared object file")'
BROKEN = {
    CUDA: r"ImportError: libcuda\.so\.1: cannot open shared object file",
    'raise OSError("libgomp.so.1: not found\\nwith a second line")': r"OSError: libgomp\.so\.1: not found\)",
    'raise KeyError("HOME")': "KeyError: 'HOME'",
    "": "(AttributeError: module '.*' has no attribute|ImportError: cannot import name)",  # another version
}


@pytest.fixture
def break_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Replaces the package of a runtime by a module with this code."""

    def broken(name: str, code: str) -> None:
        package, module, *_ = RUNTIMES[name]
        pytest.importorskip(package)  # so that it is put back afterwards
        (tmp_path / f"{package}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        for loaded in [one for one in sys.modules if f"{one}.".startswith(f"{package}.")]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return broken


@pytest.mark.parametrize("code", BROKEN)
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_broken_package_stops_the_start_of_its_runtime_with_its_own_error(
    name: str, code: str, bundled: Artefact, break_package: Callable[[str, str], None]
) -> None:
    break_package(name, code)
    with pytest.raises(StartupError, match=rf"{RUNTIMES[name][0]}, which is installed .*{BROKEN[code]}"):
        open_runtime(name, bundled, device="cpu", threads=0, precision="fp32")


def test_auto_leaves_out_a_broken_runtime_with_a_warning(
    bundled: Artefact, break_package: Callable[[str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("onnxruntime")
    break_package("openvino", CUDA)
    runtime = open_runtime("auto", bundled, device="cpu", threads=1, precision="fp32")
    assert runtime.name == "onnx"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "openvino, which is installed but cannot be loaded (ImportError: libcuda" in record.message


def test_a_broken_paddle_beside_a_driver_is_a_warning_and_no_gpu(
    bundled: Artefact,
    break_package: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(runtimes, "has_nvidia_driver", lambda: True)
    break_package("paddle", CUDA)
    assert open_runtime("auto", bundled, device="auto", threads=1, precision="fp32").name == "openvino"
    assert "paddle, which is installed but cannot be loaded (ImportError: libcuda" in caplog.text
    with pytest.raises(StartupError, match="paddle is installed but cannot be loaded"):
        open_runtime("auto", bundled, device="gpu:0", threads=1, precision="fp32")


def test_without_a_runtime_that_can_be_loaded_auto_names_the_error_of_each(
    bundled: Artefact, break_package: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openvino", "paddle", "torch"):
        break_package(name, CUDA)
    monkeypatch.delitem(sys.modules, RUNTIMES["onnx"][1], raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    states = (
        r"openvino is installed but .*libcuda.*, onnxruntime is not installed, "
        r"paddle is installed but .*libcuda.*, torch is installed but .*libcuda"
    )
    with pytest.raises(StartupError, match=states):
        open_runtime("auto", bundled, device="cpu", threads=1, precision="fp32")


def test_a_choice_that_cannot_be_met_is_never_replaced_by_auto(bundled: Artefact) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(StartupError, match="TELESCOPE_PRECISION=fp16 cannot be had from OpenVINO"):
        open_runtime("auto", bundled, device="cpu", threads=1, precision="fp16")


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_missing_gpu_stops_the_start(name: str, bundled: Artefact) -> None:
    pytest.importorskip(RUNTIMES[name][0])
    with pytest.raises(StartupError, match="TELESCOPE_DEVICE"):
        open_runtime(name, bundled, device="gpu:7", threads=0, precision="fp32")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets how many GPUs each runtime sees, beside a driver."""
    monkeypatch.setattr(runtimes, "has_nvidia_driver", lambda: True)

    def set_gpus(**seen: int) -> None:
        for name in ON_GPU:
            pytest.importorskip(RUNTIMES[name][0])
            module = importlib.import_module(RUNTIMES[name][1])
            monkeypatch.setattr(module, "visible_gpus", lambda name=name: seen.get(name, 0))

    return set_gpus


@pytest.mark.parametrize(
    ("seen", "first"),
    [({"torch": 1, "paddle": 1, "onnx": 1}, "torch"), ({"paddle": 2}, "paddle"), ({"onnx": 1}, "onnx")],
)
@pytest.mark.parametrize("device", ["auto", "gpu:0"])
def test_auto_begins_with_the_first_runtime_that_sees_a_gpu(
    device: str, seen: dict[str, int], first: str, gpus: Callable[..., None]
) -> None:
    gpus(**seen)
    order, notes = auto_order(device)
    assert (order[0], sorted(order), notes) == (first, sorted(RUNTIMES), [])
    assert auto_order("cpu") == (list(RUNTIMES), [])


def test_where_no_runtime_sees_a_gpu_auto_takes_the_cpu_and_a_named_gpu_stops_the_start(
    gpus: Callable[..., None], bundled: Artefact
) -> None:
    gpus()
    assert auto_order("auto") == (["openvino", "onnx", "paddle", "torch"], [])
    says = "TELESCOPE_DEVICE=gpu:1 .*torch sees no GPU, paddle sees no GPU, onnxruntime sees no GPU;"
    with pytest.raises(StartupError, match=says):
        open_runtime("auto", bundled, device="gpu:1", threads=0, precision="auto")


def test_without_a_driver_no_large_package_is_asked_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(runtimes, "find_spec", lambda package: object())
    monkeypatch.setattr(runtimes, "import_module", lambda name: pytest.fail(f"{name} was loaded"))
    order, ((level, note),) = auto_order("auto")
    assert order == ["openvino", "onnx", "paddle", "torch"]
    assert (level, note.startswith("torch and paddle: installed, but not loaded")) == (logging.INFO, True)


def test_a_driver_is_found_by_its_files_or_by_its_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libno_such_driver.so.1")
    monkeypatch.setattr(driver, "TRACES", (str(tmp_path / "nvidiactl"),))
    assert not driver.has_nvidia_driver()
    (tmp_path / "nvidiactl").touch()
    assert driver.has_nvidia_driver()
    monkeypatch.setattr(driver, "TRACES", ())
    monkeypatch.setattr(driver, "LIBRARY", None)  # the running program itself, which can always be loaded
    assert driver.has_nvidia_driver()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CUDA error: out of memory", OutOfMemory),
        ("Failed to allocate memory for requested buffer", OutOfMemory),
        ("ResourceExhaustedError: Out of memory error on GPU 0", OutOfMemory),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", OutOfMemory),
        ("Invalid rank for input", InferenceFailed),
        ("", InferenceFailed),
    ],
)
def test_out_of_memory_is_recognised_by_the_librarys_message(text: str, kind: type[InferenceFailed]) -> None:
    assert type(inference_error(RuntimeError(text))) is kind


class BrokenRuntime(FakeRuntime):
    def __init__(self, sr: Nchw) -> None:
        super().__init__()
        self.sr = sr

    def run(self, lr_nchw: Nchw) -> Nchw:
        return self.sr


@pytest.mark.parametrize(
    ("sr", "says"),
    [
        (np.full((1, 3, 32, 128), np.nan, np.float32), "not numbers"),
        (np.zeros((1, 3, 16, 64), np.float32), "the shape"),
        (np.zeros((0, 3, 32, 128), np.float32), "the shape"),
    ],
)
def test_a_runtime_with_invalid_output_fails_its_warm_up(sr: Nchw, says: str) -> None:
    with pytest.raises(StartupError, match=says):
        Predictor(lambda: BrokenRuntime(sr), spec=SPEC, batch_sizes=[1])


def test_a_hanging_runtime_does_not_delay_close() -> None:
    runtime = FakeRuntime()
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[1])
    runtime.gate.clear()
    runtime.threads.clear()
    busy = threading.Thread(target=predictor.run_blocking, args=[np.zeros((1, 3, 16, 64), np.float32)])
    busy.start()
    wait_until(lambda: runtime.threads)
    started = time.monotonic()
    predictor.close(within_s=0.05)
    assert time.monotonic() - started < 5
    runtime.gate.set()
    busy.join()


def test_every_batch_size_is_warmed_and_timed() -> None:
    runtime = FakeRuntime()
    sizes = ((16, 64), (24, 96), (48, 192))
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[4, 1, 16], input_sizes=sizes)
    predictor.close()
    assert set(runtime.batches) == {1, 4, 16}
    warmed = {size: tuple(seconds) for size, seconds in predictor.batch_seconds.items()}
    # a larger image is several windows of work, and no batch is more work than the largest of the trained size
    assert warmed == {(16, 64): (1, 4, 16), (24, 96): (1, 4), (48, 192): (1,)}
    assert all(seconds > 0 for each in predictor.batch_seconds.values() for seconds in each.values())


def test_importing_the_service_imports_no_runtime() -> None:
    for package in ("openvino", "onnxruntime", "paddle"):
        assert importlib.util.find_spec(package), f"{package} is missing, so this test would show nothing"
    libraries = ("paddle", "torch", "openvino", "onnxruntime")
    code = f"import sys, app.main, app.__main__; print([m for m in {libraries} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
