"""ONNX Runtime for C++, as its release archive holds it: a folder with `include` and `lib`.

The library is that of the Python package. Its headers come from Debian's package `libonnxruntime-dev`, which is
unpacked and not installed; headers work with any newer library.
"""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITE = "trixie"  # the first of Debian's releases that has the package


def onnxruntime_root(folder: Path) -> Path:
    """Fills the folder; without Python package, apt or network, it stays incomplete.

    With the environment variable ONNXRUNTIME_ROOT set, it is the folder that this names.
    """
    if given := os.environ.get("ONNXRUNTIME_ROOT"):
        return Path(given)
    root = folder / "onnxruntime"
    (root / "lib").mkdir(parents=True)
    spec = find_spec("onnxruntime")
    if spec and spec.origin:
        for library in Path(spec.origin).parent.glob("capi/libonnxruntime.so.*"):
            for name in ("libonnxruntime.so", "libonnxruntime.so.1"):  # for the linker, and for the program
                (root / "lib" / name).symlink_to(library)
    if unpacked := _unpacked("libonnxruntime-dev", folder / "debian"):
        (root / "include").symlink_to(unpacked / "usr" / "include" / "onnxruntime")
    return root


def _unpacked(package: str, folder: Path) -> Path | None:
    """The package's files; None without apt or network. apt's own state and lists stay as they are."""
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    places = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": folder,
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # apt's own user may not enter pytest's folders
    }
    options = [part for key, value in places.items() for part in ("-o", f"{key}={value}")]
    try:
        archive = f"deb [signed-by={KEYRING}] {_debian_archive()} {SUITE} main\n"
        (folder / "sources.list").write_text(archive)
        _output("apt-get", *options, "update")
        _output("apt-get", *options, "download", package, cwd=folder)
        (downloaded,) = folder.glob("*.deb")
        _output("dpkg", "-x", str(downloaded), str(folder / "files"))
    except (OSError, subprocess.CalledProcessError, StopIteration):
        return None
    return folder / "files"


def _debian_archive() -> str:
    """The address that this machine's apt has for Debian. Raises StopIteration if it has none."""
    listed = _output("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
    return next(address for address in listed if address.rstrip("/").endswith("/debian"))


def _output(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout
