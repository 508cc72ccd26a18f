"""`text-telescope serve` as a user runs it: a real process, the bundled model, a real client."""

import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.imaging.decode import decode
from app.imaging.encode import encode
from app.inference.runtimes import RUNTIMES
from model_store import BUNDLED
from model_store.pixels import resize
from model_store.store import ModelStore
from tests.app.process import Process, ready, scraped, wait_until
from tests.conftest import REPOSITORY

pytest.importorskip("openvino")

pytestmark = pytest.mark.slow
CROPS = sorted((REPOSITORY / "examples" / "crops").glob("*.png"))


@pytest.fixture(scope="module")
def service() -> Iterator[Process]:
    """A service that all tests of this module share."""
    process = Process(TELESCOPE_BATCH_SIZES="1,8", TELESCOPE_THREADS="0")
    wait_until(lambda: ready(process.url()), 60)
    yield process
    process.kill()


def post(url: str, crop: Path) -> httpx.Response:
    return httpx.post(f"{url}/v1/super-resolve?mode=always", files={"image": crop.read_bytes()}, timeout=60)


def super_resolved(url: str, crop: Path) -> np.ndarray:
    response = post(url, crop)
    assert response.status_code == 200, response.text
    return decode(response.content)


def test_a_real_crop_comes_back_twice_as_large_and_sharper_than_bicubic(service: Process) -> None:
    for crop in CROPS:
        lr = decode(crop.read_bytes())
        sr = super_resolved(service.url(), crop)
        assert sr.shape == (2 * lr.shape[0], 2 * lr.shape[1], 3)
        bicubic = resize(lr, height=sr.shape[0], width=sr.shape[1])
        assert sharpness(sr) > sharpness(bicubic), crop.name
        assert np.abs(sr.astype(float) - bicubic).mean() < 40, f"{crop.name} is another picture"


def sharpness(rgb: np.ndarray) -> float:
    """Mean gradient magnitude of the grey picture."""
    grey = rgb.astype(float).mean(axis=2)
    return float(np.hypot(*np.gradient(grey)).mean())


def test_sixty_four_clients_at_once_each_get_their_own_result(service: Process) -> None:
    url = service.url()
    alone = {crop: super_resolved(url, crop) for crop in CROPS}
    posted = [CROPS[i % len(CROPS)] for i in range(64)]
    with ThreadPoolExecutor(64) as pool:
        results = list(pool.map(lambda crop: super_resolved(url, crop), posted))
    for crop, together in zip(posted, results, strict=True):
        assert np.abs(together.astype(int) - alone[crop]).max() <= 1, crop.name
    metrics = scraped(url)
    version = ModelStore(BUNDLED).resolve("tbsrn").manifest.version
    labels = f'{{model="tbsrn",version="{version}"}}'
    batches = metrics[f"telescope_batch_size_count{labels}"]
    windows = metrics[f"telescope_batch_size_sum{labels}"]
    images = metrics[f"telescope_images_received_total{labels}"]
    assert images >= 64 + len(CROPS)
    assert max(batches, images) <= windows  # a batch holds one window and more, and so does an image
    assert metrics[f'telescope_images_total{{model="tbsrn",outcome="ok",version="{version}"}}'] == images


def test_the_readmes_curl_commands_work_as_written(service: Process, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    readme = (REPOSITORY / "README.md").read_text().replace("\\\n", "")
    commands = [line for line in readme.splitlines() if line.startswith("curl ")]
    assert len(commands) == 5
    for command in commands:
        command = command.replace("curl", "curl --silent --fail").replace("http://", "")
        command = command.replace("localhost:8000", service.url().removeprefix("http://"))
        done = subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True)
        if "-o " not in command:
            answer = json.loads(done.stdout)
            entries = answer.get("images") or answer["lines"]
            assert len(entries) > 1
            assert {entry["outcome"] for entry in entries} == {"ok"}
    assert (tmp_path / "crops.zip").read_bytes().startswith(b"PK")
    assert decode((tmp_path / "sr.png").read_bytes()).shape == (32, 128, 3)


def test_sigterm_finishes_admitted_requests_refuses_new_ones_and_exits_cleanly(
    start: Callable[..., Process],
) -> None:
    own_service = start()
    url = own_service.url()
    with ThreadPoolExecutor(48) as pool, httpx.Client(base_url=url) as probe:
        probe.get("/livez")
        asked = [pool.submit(post, url, CROPS[0]) for _ in range(48)]
        wait_until(lambda: "telescope_admitted_windows 0.0" not in probe.get("/metrics").text)
        own_service.popen.send_signal(signal.SIGTERM)
        refused = []
        while not all(future.done() for future in asked):
            try:
                refused.append(probe.get("/readyz").status_code)
            except httpx.TransportError:
                break
            time.sleep(0.01)
        statuses = [future.result().status_code for future in asked if not future.exception()]
    assert statuses.count(200) >= 1
    assert set(statuses) <= {200, 503}
    assert 503 in refused
    assert own_service.wait() == 0
    outcomes = [log["status"] for log in own_service.logs() if log.get("route") == "/v1/super-resolve"]
    assert sorted(outcomes) == sorted(statuses), "a request began and got no response"


def overload(url: str, pool: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    """Requests for some seconds of work, all admitted."""
    word = encode(np.random.default_rng(0).integers(0, 255, (16, 64, 3), np.uint8), "png")
    files = [("image", word)] * 24
    where = f"{url}/v1/super-resolve?mode=always"
    asked = [pool.submit(httpx.post, where, files=files, timeout=60) for _ in range(4)]
    wait_until(lambda: "telescope_admitted_windows 96.0" in httpx.get(f"{url}/metrics").text)
    return asked


def test_requests_that_the_drain_cannot_finish_in_time_get_503(start: Callable[..., Process]) -> None:
    process = start(TELESCOPE_DRAIN_TIMEOUT_S="0.2", TELESCOPE_MODEL="tbsrn:1")  # the slow one
    with ThreadPoolExecutor(4) as pool:
        asked = overload(process.url(), pool)
        process.popen.send_signal(signal.SIGTERM)
        responses = [future.result() for future in asked]
    assert process.wait() == 0
    results = [response.json()["images"] for response in responses]
    assert [len(entries) for entries in results] == [24] * 4
    codes = {entry["problem"]["code"] for entries in results for entry in entries if "problem" in entry}
    assert codes == {"not_ready"}


def test_a_second_signal_ends_the_process_at_once(start: Callable[..., Process]) -> None:
    process = start(TELESCOPE_DRAIN_GRACE_S="12")
    url = process.url()
    process.popen.send_signal(signal.SIGTERM)
    wait_until(lambda: "shutting down" in httpx.get(f"{url}/readyz").text)
    process.popen.send_signal(signal.SIGTERM)
    since = time.monotonic()
    assert process.wait() == 128 + signal.SIGTERM
    assert time.monotonic() - since < 6


def test_an_idle_service_is_unready_for_the_grace_period_before_it_ends(start: Callable[..., Process]) -> None:
    process = start(TELESCOPE_DRAIN_GRACE_S="1")
    url = process.url()
    process.popen.send_signal(signal.SIGTERM)
    wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 503)
    since = time.monotonic()
    assert process.wait() == 0
    assert time.monotonic() - since > 0.8


def test_the_log_has_one_json_line_a_request_and_no_image_bytes(service: Process) -> None:
    httpx.post(
        f"{service.url()}/v1/super-resolve?mode=always",
        files={"image": ("secret-name.png", CROPS[0].read_bytes())},
        headers={"X-Request-ID": "find-me"},
        timeout=60,
    )
    wait_until(lambda: any("find-me" in line for line in list(service.lines)))
    (line,) = [log for log in service.logs() if log.get("request_id") == "find-me"]
    assert line["status"] == 200
    assert line["images"] == 1
    assert line["duration_ms"] >= line["inference_ms"] > 0
    assert not any("secret-name" in text for text in service.lines)


@pytest.fixture
def failing(start: Callable[..., Process]) -> Callable[..., str]:
    """Starts a service that must fail; returns its one line of output."""

    def failing(*arguments: str, **environment: str) -> str:
        process = start(*arguments, **environment)
        assert process.wait() == 2
        assert len(process.lines) == 1, "".join(process.lines)
        return process.lines[0]

    return failing


def test_a_busy_port_stops_the_start_and_the_error_says_how_to_choose_another(failing: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "choose another port with TELESCOPE_PORT" in failing("--port", port)


def test_a_tampered_model_stops_the_start_and_the_error_names_the_file(
    tmp_path: Path, failing: Callable[..., str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(BUNDLED / "tbsrn", store / "tbsrn")
    for path in (store / "tbsrn").rglob("*.onnx"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    line = failing("--model-store", str(store))
    assert "model.onnx is not the file that was published" in line


def test_an_unknown_model_stops_the_start_and_the_error_lists_the_models(failing: Callable[..., str]) -> None:
    assert "which holds tbsrn" in failing("--model", "other")


def test_a_missing_runtime_stops_the_start_and_the_error_names_the_extra(
    tmp_path: Path, failing: Callable[..., str]
) -> None:
    hidden = tmp_path / "sitecustomize.py"  # hides the package from the process that starts
    hidden.write_text("import sys\nsys.modules['openvino'] = None\n")
    line = failing("--runtime", "openvino", PYTHONPATH=str(tmp_path))
    assert "openvino, which is not installed; run: pip install 'text-telescope[cpu]'" in line


def broken(folder: Path, *packages: str) -> str:
    """A PYTHONPATH on which these packages are installed, but their shared library is missing."""
    for package in packages:
        (folder / f"{package}.py").write_text("raise ImportError('libcuda.so.1: cannot open shared object file')")
    return str(folder)


def test_a_chosen_runtime_that_is_broken_stops_the_start_with_one_sentence(
    tmp_path: Path, failing: Callable[..., str]
) -> None:
    line = failing("--runtime", "paddle", PYTHONPATH=broken(tmp_path, "paddle"))
    assert "paddle, which is installed but cannot be loaded (ImportError: libcuda.so.1: cannot open" in line
    everything = broken(tmp_path, *(package for package, *_ in RUNTIMES.values()))
    line = failing("--runtime", "auto", PYTHONPATH=everything)
    assert line.count("libcuda.so.1") == len(RUNTIMES)


def test_auto_starts_on_a_sound_runtime_and_logs_the_broken_ones(
    tmp_path: Path, start: Callable[..., Process]
) -> None:
    pytest.importorskip("onnxruntime")
    path = broken(tmp_path, "paddle", "openvino")
    process = start("--runtime", "auto", PYTHONPATH=path)
    process.url()
    assert [line for line in process.lines if not line.startswith("{")] == []
    logs = process.logs()
    messages = " ".join(log["message"] for log in logs)
    assert "openvino, which is installed but cannot be loaded" in messages
    assert re.search("paddle: installed|paddle, which is installed", messages)  # the second with a GPU
    assert [log["runtime"] for log in logs if log["message"] == "ready"] == ["onnx"]


def test_a_bad_setting_stops_the_start_and_the_error_names_it(failing: Callable[..., str]) -> None:
    assert "TELESCOPE_MAX_IMAGES" in failing(TELESCOPE_MAX_IMAGES="none")
