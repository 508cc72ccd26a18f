"""The wheels and source archives: their contents, and a service that is installed from them."""

import shutil
import signal
import tarfile
import zipfile
from pathlib import Path

import httpx
import pytest

from app.imaging.decode import decode
from model_store import BUNDLED
from model_store.store import ModelStore
from tests.app.process import Process, wait_until
from tests.conftest import REPOSITORY
from tests.distributions import PACKAGES, install, named, run

pytestmark = pytest.mark.slow
CROP = REPOSITORY / "examples" / "crops" / "harbour.png"


def files_of(*packages: str, root: Path = REPOSITORY) -> set[str]:
    paths = {path for package in packages for path in (root / package).rglob("*") if path.is_file()}
    return {str(path.relative_to(root)) for path in paths if "__pycache__" not in path.parts}


def test_the_wheels_hold_the_packages_with_the_default_model_and_nothing_else(dist: Path) -> None:
    with zipfile.ZipFile(named(dist, "text_telescope-*.whl")) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    default = ModelStore(BUNDLED).resolve("tbsrn")
    version = default.manifest.version
    of_default = (f"model_store/tbsrn/{version}/", f"model_store/tbsrn/calibration-{version}.json")
    left_out = ("model_store/tbsrn/",)
    assert held == {
        name for name in files_of(*PACKAGES) if name.startswith(of_default) or not name.startswith(left_out)
    }
    assert {of_default[1], f"{of_default[0]}manifest.json", f"{of_default[0]}onnx/model.onnx"} <= held
    with zipfile.ZipFile(named(dist, "text_telescope_client-*.whl")) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == files_of("text_telescope", root=REPOSITORY / "client")


def test_the_source_archive_holds_no_tests_and_no_other_models(dist: Path) -> None:
    with tarfile.open(named(dist, "text_telescope-*.tar.gz")) as archive:
        held = [name.split("/", 1)[1] for name in archive.getnames() if "/" in name]
    folders = {name.split("/")[0] for name in held if "/" in name}
    assert folders == {*PACKAGES, "text_telescope.egg-info"}
    versions = {name.split("/")[2] for name in held if name.endswith("/manifest.json")}
    assert versions == {str(ModelStore(BUNDLED).resolve("tbsrn").manifest.version)}


def test_an_installed_service_works_in_a_folder_that_has_an_app_of_its_own(dist: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('this is the app of another project')")
    shutil.copy(CROP, tmp_path / "crop.png")
    height, width, channels = decode(CROP.read_bytes()).shape
    wheel = f"{named(dist, 'text_telescope-*.whl')}[cpu]"  # built from the source archive, as `build` does
    wheels = (wheel, named(dist, "text_telescope_client-*.whl"))
    programs = install(tmp_path / "venv", "--constraint", REPOSITORY / "constraints.txt", *wheels)
    command = str(programs / "text-telescope")
    service = Process(command=[command], folder=tmp_path)
    try:
        answer = httpx.post(
            f"{service.url()}/v1/super-resolve?mode=always",
            content=CROP.read_bytes(),
            headers={"Content-Type": "image/png"},
            timeout=60,
        )
        assert decode(answer.content).shape == (2 * height, 2 * width, channels)
        run(command, "upscale", "crop.png", "-o", "sharp", "--url", service.url(), folder=tmp_path)
        assert decode((tmp_path / "sharp" / "crop.png").read_bytes()).shape == (2 * height, 2 * width, channels)
        service.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: service.popen.poll() is not None, 60)
    finally:
        service.kill()
    assert service.popen.returncode == 0
    assert run(command, "--version", folder=tmp_path).startswith("text-telescope 0.")
