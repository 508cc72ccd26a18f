"""Builds the images and sends a picture to the service in each."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from app.imaging.decode import decode
from model_store import BUNDLED
from model_store.store import ModelStore
from tests.app.process import SOON_READY, wait_until
from tests.conftest import REPOSITORY
from tests.docker.conftest import needs
from tests.docker.images import Container, Image, Storage
from tests.docker.test_compose import SERVICES

pytestmark = [
    pytest.mark.slow,
    needs("buildah", "debootstrap", "unshare", "nsenter", "setpriv", "ip"),
    pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap and mount namespaces need root"),
]
FORMS = {"onnx", "onnx-any-size", "paddle", "paddle-any-size", "weights"}  # of a model, each for one runtime
LIBRARIES = {"onnxruntime", "openvino", "paddle", "torch"}
# Paddle's CPU build is on PyPI, and needs no other index.
ARGUMENTS = {"paddle": {"PADDLE": "paddlepaddle", "PADDLE_INDEX": "file:///nowhere"}}
ASK = """
import sys, urllib.request as u
url, head = "http://127.0.0.1:8000/v1/super-resolve" + sys.argv[1], {"Content-Type": "image/png"}
with u.urlopen(u.Request(url, sys.stdin.buffer.read(), head)) as response:
    print(response.headers["X-Model-Digest"], file=sys.stderr)
    sys.stdout.buffer.write(response.read())
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Storage]:
    assert pytestconfig.cache
    storage = Storage(tmp_path_factory.mktemp("images"), pytestconfig.cache.mkdir("images"))
    yield storage
    storage.close()


@pytest.fixture(scope="module")
def built(storage: Storage) -> Callable[[str], Image]:
    """Builds the image of a kind at the first call."""
    return cache(lambda kind: storage.build(kind, REVISION="abc", **ARGUMENTS.get(kind, {})))


def become_healthy(container: Container) -> None:
    """Wait until the image's own health check passes."""
    kind, *check = container.image.config["Healthcheck"]["Test"]
    assert kind == "CMD"

    sockets = Path(f"/proc/{container.popen.pid}/net/tcp")

    def ended() -> bool:
        return container.popen.poll() is not None

    wait_until(lambda: ended() or f":{8000:X} " in sockets.read_text(), 180, every_s=0.1)  # cheaper than the check
    wait_until(lambda: ended() or container.run(*check).returncode == 0, 60, every_s=0.5)
    assert container.popen.poll() is None, container.stop() or container.output


def asked(container: Container, address: str, picture: bytes) -> subprocess.CompletedProcess[bytes]:
    """The response to a picture, sent from within the container; the digest of its model in stderr."""
    done = container.run("python", "-c", ASK, address, given=picture)
    assert done.returncode == 0, done.stderr
    return done


def assert_super_resolves(container: Container) -> None:
    crop = (REPOSITORY / "examples" / "crops" / "harbour.png").read_bytes()
    done = asked(container, "", crop)
    height, width = decode(crop).shape[:2]
    assert decode(done.stdout).shape == (2 * height, 2 * width, 3)
    assert done.stderr.decode().strip() == ModelStore(BUNDLED).resolve("tbsrn").digest


def assert_reads_pages(container: Container) -> None:
    page = (REPOSITORY / "examples" / "pages" / "market.png").read_bytes()
    text = json.loads(asked(container, "/page?read=true&pictures=false", page).stdout)["text"]
    assert "Fresh bread and coffee" in text.splitlines()


def test_the_cpu_image_serves_and_drains_without_privileges_on_a_read_only_root(
    built: Callable[[str], Image],
) -> None:
    with built("cpu").run(**SOON_READY) as container:
        become_healthy(container)
        assert_super_resolves(container)
        assert_reads_pages(container)
        status = Path(f"/proc/{container.popen.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "Uid:\t10001\t10001\t10001\t10001" in status
        assert "NoNewPrivs:\t1" in status
        for folder in ("/srv", "/tmp"):
            assert b"Read-only file system" in container.run("touch", f"{folder}/x").stderr
        assert container.stop() == 0, container.output


@pytest.mark.parametrize(
    ("kind", "forms", "libraries"),
    [
        ("cpu", {"onnx", "onnx-any-size"}, {"openvino"}),
        ("gpu", {"weights"}, {"openvino", "torch"}),  # OpenVINO reads pages
        ("paddle", {"paddle", "paddle-any-size"}, {"paddle"}),
    ],
)
def test_an_image_holds_the_service_and_a_model_for_its_runtime(
    built: Callable[[str], Image], kind: str, forms: set[str], libraries: set[str]
) -> None:
    image = built(kind)
    root = image.storage.mounted(f"localhost/{image.name}")
    (packages,) = (root / "opt" / "venv" / "lib").glob("*/site-packages")
    assert {path.name for path in (root / "srv").iterdir()} == {"LICENSE"}
    versions = list((packages / "model_store").glob("*/*/manifest.json"))
    assert versions
    for manifest in versions:
        held = {path.name for path in manifest.parent.iterdir()}
        assert held >= {"MODEL_CARD.md", "report.json"}
        assert held & FORMS == forms
    installed = {path.name for path in packages.iterdir()}
    assert installed & LIBRARIES == libraries
    assert not installed & {"pip", "pytest", "lmdb", "openvino_telemetry"}
    assert image.config["Labels"]["org.opencontainers.image.revision"] == "abc"


@pytest.mark.parametrize(("kind", "library"), [("gpu", "PyTorch"), ("paddle", "Paddle")])
def test_an_image_for_a_gpu_serves_on_a_cpu_if_told_to_and_does_not_start_without_its_gpu(
    built: Callable[[str], Image], kind: str, library: str
) -> None:
    image = built(kind)
    tmpfs = "".join(SERVICES[kind].get("tmpfs", []))
    with image.run(tmpfs=tmpfs, TELESCOPE_DEVICE="cpu", **SOON_READY) as container:
        become_healthy(container)
        assert_super_resolves(container)
        if kind == "gpu":  # the other one has no recogniser
            assert_reads_pages(container)
        assert container.stop() == 0, container.output
    with image.run(tmpfs=tmpfs) as container:
        assert container.wait() == 2
        assert re.search(f"gpu:0.* {library} .*sees 0 GPUs", container.output), container.output
