"""Builds the Dockerfiles with Debian's buildah and runs their images, without a Docker engine.

    debootstrap   ->  plain Debian, an image with the names in FROM  ->  buildah build  ->  Container
    pip download  ->  wheels, mounted at /wheels in every build      ->

Plain Debian with its own Python replaces each base image, so additions of a base image (CUDA, Paddle) are missing.
Debian and the wheels are kept between runs (.pytest_cache/d/images), so that only the first run downloads them.
PyPI's PyTorch is a CUDA build of gigabytes; pip takes the CPU build if its configuration names PyTorch's index.
A container is a process in new mount and network namespaces: read-only root, no capabilities, loopback only.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tests.app.process import wait_until
from tests.conftest import REPOSITORY
from tests.docker.conftest import DOCKER

SERVING = ("cpu", "gpu", "paddle")  # docker/<kind>.Dockerfile of each image that runs the service
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEBIAN = "python3,python3-pip,python-is-python3,ca-certificates"
_HERE = Path("/proc/self/ns/net")
_READ_ONLY = """
ip link set lo up
mount --bind "$0" "$0"
for folder in proc sys dev; do mount --rbind "/$folder" "$0/$folder"; done
mount -o remount,ro,bind "$0"
if [ "$1" ]; then mount -t tmpfs tmpfs "$0/$1"; fi
shift
exec "$@"
"""


class Storage:
    """Images and containers in one folder."""

    def __init__(self, folder: Path, cache: Path) -> None:
        """folder: for this run. cache: keeps Debian and the wheels for later runs."""
        self._folder, self._debian, self._wheels = folder, _debian(cache), _wheels(cache)
        self._pip_conf = folder / "pip.conf"
        # `no-compile = false` is pip's way to say: do not compile.
        self._pip_conf.write_text("[global]\nno-index = true\nfind-links = /wheels\nno-compile = false\n")
        self._containers: list[str] = []

    def buildah(self, *arguments: str) -> str:
        return _buildah(self._folder, "--storage-opt", f"overlay.imagestore={self._debian}/root", *arguments)

    def mounted(self, image: str) -> Path:
        """The path of a new container's root file system."""
        container = self.buildah("from", "--pull-never", image)
        self._containers.append(container)
        return Path(self.buildah("mount", container))

    def build(self, kind: str, **arguments: str) -> "Image":
        """Build docker/<kind>.Dockerfile with these build arguments; pip takes its packages from local wheels."""
        self.buildah(
            *("build", "--isolation", "chroot", "--network", "host", "--pull-never", "--format", "docker"),
            *("--volume", f"{self._pip_conf}:/etc/pip.conf:ro", "--volume", f"{self._wheels}:/wheels:ro"),
            *(part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")),
            *("--file", f"docker/{kind}.Dockerfile", "--tag", kind, "."),
        )
        return Image(self, kind)

    def close(self) -> None:
        for container in self._containers:
            self.buildah("rm", container)
        self.buildah("rmi", "--all", "--force")


@dataclass(frozen=True)
class Image:
    storage: Storage
    name: str

    @cached_property
    def config(self) -> dict[str, Any]:
        inspected = json.loads(self.storage.buildah("inspect", "--type", "image", f"localhost/{self.name}"))
        return dict(inspected["Docker"]["config"])

    def run(self, *, tmpfs: str = "", **environment: str) -> "Container":
        """Run the image's command, with a writable folder at `tmpfs` if given."""
        return Container(self, self.storage.mounted(f"localhost/{self.name}"), tmpfs, environment)


class Container:
    """The process of a container, and commands in its namespaces. `output` is set when the process has ended."""

    def __init__(self, image: Image, root: Path, tmpfs: str, environment: dict[str, str]) -> None:
        self.image = image
        self.output = ""
        config = image.config
        started = [*config["Entrypoint"], *config["Cmd"]]
        variables = [*config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        self._inside = ["chroot", f"--userspec={config['User']}", str(root)]
        self._inside += ["env", "--ignore-environment", f"--chdir={config['WorkingDir']}", *variables]
        isolated = ["unshare", "--mount", "--net", "setpriv", "--no-new-privs", "sh", "-ec", _READ_ONLY]
        command = [*isolated, str(root), tmpfs, *self._inside, *started]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        network = Path(f"/proc/{self.popen.pid}/ns/net")
        wait_until(lambda: self.popen.poll() is not None or network.readlink() != _HERE.readlink())

    def run(self, *command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run another command in the namespaces and with the environment of the first."""
        joined = ["nsenter", f"--target={self.popen.pid}", "--mount", "--net", *self._inside, *command]
        return subprocess.run(joined, input=given, capture_output=True, timeout=60)

    def stop(self) -> int:
        self.popen.terminate()
        return self.wait()

    def wait(self) -> int:
        self.output = self.popen.communicate(timeout=60)[0]
        return self.popen.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.popen.stdout
        if not self.popen.stdout.closed:
            self.popen.kill()
            self.wait()


def bases(kind: str) -> set[str]:
    """The base images of docker/<kind>.Dockerfile."""
    found = re.findall(r"^FROM (\S+)(?: AS (\S+))?", (DOCKER / f"{kind}.Dockerfile").read_text(), re.MULTILINE)
    return {image for image, _ in found} - {stage for _, stage in found}


def _debian(cache: Path) -> Path:
    """Storage with a minimal Debian with Python as every base image, made at the first call of all runs."""
    names = sorted(set().union(*map(bases, SERVING)))
    folder = cache / f"debian-{_digest(_DEBIAN, *names)}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache) as made:
            container = _buildah(Path(made), "from", "scratch")
            root = Path(_buildah(Path(made), "mount", container))
            _succeed("debootstrap", "--variant=minbase", f"--include={_DEBIAN}", "bookworm", str(root))
            left = [root / "proc", root / "sys"]  # by debootstrap
            subprocess.run(["umount", "-l", *left], capture_output=True)
            for package in root.glob("var/cache/apt/archives/*.deb"):
                package.unlink()
            _buildah(Path(made), "config", "--env", _PATH, container)
            image = _buildah(Path(made), "commit", "--quiet", "--rm", container)
            _buildah(Path(made), "tag", image, *names)
            Path(made).rename(folder)
            Path(made).mkdir()
    return folder


def _wheels(cache: Path) -> Path:
    """A folder with every wheel that the images install, downloaded at the first call of all runs."""
    files = [(DOCKER / f"{kind}.Dockerfile").read_text() for kind in SERVING]
    extras = " ".join(
        found for text in files for found in re.findall(r"requirements\.py([a-z ]*) >", text)
    ).split()
    listed = [sys.executable, "docker/requirements.py", *extras]
    needed = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\n")
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["build-system"]["requires"]
    wanted = [*filter(None, needed), *build, "wheel", "paddlepaddle"]
    constraints = REPOSITORY / "constraints.txt"
    folder = cache / f"wheels-{_digest(*wanted, constraints.read_text())}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache) as made:
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
            _succeed(*download, "--constraint", str(constraints), "--dest", f"{made}/wheels", *wanted)
            try:
                Path(made, "wheels").rename(folder)
            except OSError:  # another process has downloaded the same ones in the meantime
                if not folder.exists():
                    raise
    return folder


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _buildah(folder: Path, *arguments: str) -> str:
    places = ["--root", f"{folder}/root", "--runroot", f"{folder}/run"]
    driver = ["--storage-driver", "overlay", "--storage-opt", "overlay.skip_mount_home=true"]
    done = subprocess.run(
        ["buildah", *places, *driver, *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, f"buildah {' '.join(arguments)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


def _succeed(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
