"""The service connects to nothing, ever: no telemetry, no update check, no download, no name looked up."""

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.app.process import Process
from tests.conftest import REPOSITORY

pytest.importorskip("openvino")

pytestmark = pytest.mark.slow
CONNECT = {"x86_64": 42, "aarch64": 203}  # the system call's number
CROP = (REPOSITORY / "examples" / "crops" / "harbour.png").read_bytes()

# Runs before anything else in the process. An audit hook ends the process if Python connects; if code in C, C++ or
# Rust connects, the kernel kills the process by its seccomp filter for connect(2).
SEAL = """
import ctypes, os, sys

EVENTS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}

def hook(event, args):
    if event in EVENTS and "audit" in os.environ["SEALED_BY"]:
        os.write(2, f"outbound: {event} {args}\\n".encode())
        os._exit(99)

sys.addaudithook(hook)

class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction))]

load_number, jump_if_equal, end = 0x20, 0x15, 0x06
kill, allow = 0x80000000, 0x7FFF0000
instructions = (Instruction * 4)(
    (load_number, 0, 0, 0), (jump_if_equal, 0, 1, %d), (end, 0, 0, kill), (end, 0, 0, allow)
)
libc = ctypes.CDLL(None, use_errno=True)
if "kernel" in os.environ["SEALED_BY"]:
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    program = Program(4, instructions)
    if libc.prctl(22, 2, ctypes.byref(program)) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        os._exit(77)
"""


@pytest.fixture
def sealed(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that is killed as soon as it connects; both seals are checked."""
    number = CONNECT.get(platform.machine())
    if sys.platform != "linux" or number is None:
        pytest.skip("the number of connect(2) is not known for this system")
    (tmp_path / "sitecustomize.py").write_text(SEAL % number)
    path = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    attempt = [sys.executable, "-c", "import socket; socket.socket().connect(('127.0.0.1', 9))"]
    for seal, code in {"audit": 99, "kernel": -signal.SIGSYS}.items():
        ended = subprocess.run(attempt, env={**os.environ, **path, "SEALED_BY": seal}, capture_output=True)
        if ended.returncode == 77:
            pytest.skip("this kernel takes no seccomp filter")
        assert ended.returncode == code, ended.stderr
    return {**path, "SEALED_BY": "audit kernel"}


def test_from_start_to_shutdown_it_connects_to_nothing(
    start: Callable[..., Process], sealed: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    ocr = bool(find_spec("rapidocr"))
    platform = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    service = start(TELESCOPE_OCR="on" if ocr else "off", HOME=str(home), **platform, **sealed)
    with httpx.Client(base_url=service.url(), timeout=60) as client:
        paths = ["/", "/web/style.css", "/docs", "/openapi.json", "/metrics", "/livez", "/readyz", "/v1/models"]
        assert [client.get(path).status_code for path in paths] == [200] * len(paths)
        one, box = {"image": CROP}, {"regions": "[[0, 0, 40, 16]]"}
        assert client.post("/v1/super-resolve", files=one).status_code == 200
        assert client.post("/v1/super-resolve", files=one, headers={"Accept": "application/zip"}).is_success
        assert client.post("/v1/super-resolve/regions", files=one, data=box).status_code == 200
        assert client.post("/v1/super-resolve", files={"image": b"http://127.0.0.1:9/a.png"}).status_code == 400
        svg = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1:9/a.png'/></svg>"
        assert client.post("/v1/super-resolve", files={"image": svg}).status_code == 415
        if ocr:
            page = {"image": (REPOSITORY / "examples" / "pages" / "market.png").read_bytes()}
            read = client.post("/v1/super-resolve/page", params={"read": "true", "mode": "always"}, files=page)
            assert read.status_code == 200, read.text
    service.popen.send_signal(signal.SIGTERM)
    assert service.wait() == 0, "".join(service.lines)
    assert list(home.rglob("*")) == []  # where libraries keep an identifier of the machine


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_leaves_no_identifier_of_the_machine(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(runtime)

    def left_behind_by(first: str) -> list[Path]:
        home = tmp_path / first
        home.mkdir()
        environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
        code = f"import {first}, {runtime}; getattr({runtime}, 'convert_model', None)"
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, check=True)
        return list(home.rglob("*"))

    if not left_behind_by("os"):
        pytest.skip("this version keeps none anyway")
    assert left_behind_by("app") == []
    assert left_behind_by("training") == []
