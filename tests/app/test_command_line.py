import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.__main__ import main
from app.bulk.in_process import InProcess
from app.bulk.upscale import Jobs, Summary, find, local, upscale
from app.errors import StartupError
from app.imaging.decode import ACCEPTED, decode
from app.imaging.encode import encode
from app.imaging.quality_gate import ALWAYS, QualityGate, RoutingPolicy
from app.inference.predictor import Predictor
from app.serving.pipeline import CropPipeline
from app.settings import Settings
from tests.app.conftest import SPEC, Server, picture, png
from tests.app.fakes import FakeRuntime
from tests.app.imaging.test_quality_gate import HELPS_BLURRED, written
from tests.app.process import at_a_terminal
from tests.conftest import REPOSITORY


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(FakeRuntime, spec=SPEC, batch_sizes=[1, 2, 4])


def locally(jobs: Jobs, predictor: Predictor) -> int:
    """How many failed."""
    return summarised(jobs, predictor).failed


def summarised(
    jobs: Jobs, predictor: Predictor, gate: QualityGate | None = None, policy: RoutingPolicy = ALWAYS
) -> Summary:
    planner = CropPipeline(SPEC, gate or QualityGate())
    return upscale(jobs, local(InProcess(predictor, planner, policy=policy), settings=Settings()), batch=4)


def test_a_summary_says_how_many_were_super_resolved_and_why_the_others_were_not(
    tmp_path: Path, predictor: Predictor
) -> None:
    crops = {
        "sharp": written(),
        "soft": written(sigma=3, height=40),
        "plain": picture(),
        "high": written(height=90),
    }
    (tmp_path / "in").mkdir()
    for name, crop in crops.items():
        (tmp_path / "in" / f"{name}.png").write_bytes(encode(crop, "png"))
    (tmp_path / "in" / "broken.png").write_bytes(b"text")
    jobs = find([tmp_path / "in"], tmp_path / "out")
    summary = summarised(jobs, predictor, HELPS_BLURRED, RoutingPolicy("auto"))
    predictor.close()
    told = "5 crops: 3 enlarged (sharp 2, blank 1), 1 super-resolved (blurred 1), 1 failed"
    assert summary.description() == told


def test_files_of_a_folder_that_are_no_pictures_are_counted(tmp_path: Path, predictor: Predictor) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.JFIF", "b.tiff"):
        (tmp_path / "in" / name).write_bytes(png())
    for name in ("._a.JFIF", ".DS_Store", "notes.txt", "more.txt"):
        (tmp_path / "in" / name).write_bytes(b"no picture")
    summary = summarised(find([tmp_path / "in"], tmp_path / "out"), predictor)
    predictor.close()
    told = summary.description()
    assert told.startswith("2 crops: ")
    assert told.endswith("; 4 files left out: 2 .txt, 1 .DS_Store, 1 AppleDouble")


def test_a_folder_that_cannot_be_listed_counts_as_a_failure(
    tmp_path: Path, predictor: Predictor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in" / "closed").mkdir(parents=True)
    (tmp_path / "in" / "a.png").write_bytes(png())
    listed = os.scandir

    def scandir(path: Path) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)  # not by chmod, which does not keep the superuser out
    assert locally(find([tmp_path / "in"], tmp_path / "out"), predictor) == 1
    predictor.close()
    assert f"{tmp_path}/in/closed: Permission denied" in capsys.readouterr().err


def test_folders_keep_their_structure_and_every_crop_its_own_answer(tmp_path: Path, predictor: Predictor) -> None:
    colours = {f"sub{i % 3}/crop{i}.png": (20 * i, 255 - 20 * i, i) for i in range(11)}
    for name, colour in colours.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(colour, height=10 + len(name), width=30))
    out = tmp_path / "out"
    failed = locally(find([tmp_path / "in"], out), predictor)
    predictor.close()
    assert failed == 0
    for name, colour in colours.items():
        expected = picture(colour, height=2 * (10 + len(name)), width=60)
        assert (decode((out / name).read_bytes()) == expected).all()


def test_unreadable_files_get_a_line_each_and_the_others_their_answer(
    tmp_path: Path, predictor: Predictor, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in {"a.png": png(), "b.png": b"text", "c.jpg": b"", "d.png": png(height=1, width=1)}.items():
        (tmp_path / name).write_bytes(data)
    out = tmp_path / "out"
    assert locally(find([tmp_path], out), predictor) == 3
    predictor.close()
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith(str(tmp_path))]
    assert [line.split(":")[0].rsplit("/", 1)[1] for line in told] == ["b.png", "c.jpg", "d.png"]
    assert [p.name for p in out.iterdir()] == ["a.png"]


def test_two_inputs_for_one_output_are_refused_before_any_work(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_bytes(png())
    with pytest.raises(StartupError, match=r"would both become .*a\.png"):
        find([tmp_path], tmp_path / "out")


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="nowhere does not exist"):
        find([tmp_path / "nowhere"], tmp_path)


def test_a_crop_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(StartupError, match=r"a\.png would be overwritten"):
        find([tmp_path], tmp_path)


def test_a_second_run_does_not_take_the_firsts_pictures_for_crops(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(png())
    assert find([tmp_path], out) == {out / "a.png": tmp_path / "a.png"}


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="holds no pictures"):
        find([tmp_path], tmp_path / "out")


def test_an_out_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(StartupError, match="is not a folder"):
        find([tmp_path / "a.png"], tmp_path / "a.png")


def test_an_out_that_cannot_be_written_is_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(StartupError, match="/proc/out cannot be written"):
        find([tmp_path], Path("/proc/out"))


def test_a_picture_that_cannot_be_written_spares_the_others(
    tmp_path: Path, predictor: Predictor, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png())
    out = tmp_path / "out"
    (out / "a.png").mkdir(parents=True)
    assert locally(find([tmp_path], out), predictor) == 1
    predictor.close()
    assert "a.png: [Errno 21] Is a directory" in capsys.readouterr().err
    assert (out / "b.png").is_file()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )


@pytest.mark.slow
def test_upscale_works_from_the_shell_and_tells_failure_by_its_exit_code(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    bad = tmp_path / "bad.png"
    bad.write_text("not a picture")
    done = run("upscale", "examples/crops/harbour.png", str(bad), "-o", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "bad.png: These 13 bytes are not an image" in done.stderr
    lr = decode((REPOSITORY / "examples/crops/harbour.png").read_bytes())
    sr = decode((tmp_path / "out" / "harbour.png").read_bytes())
    assert np.array(sr.shape[:2]).tolist() == (2 * np.array(lr.shape[:2])).tolist()


def test_the_installed_command_works_beside_another_package_named_app(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('this is the app of another project')")
    command = [str(Path(sys.executable).parent / "text-telescope"), "models"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "tbsrn:4" in done.stdout, done.stderr


def test_help_names_the_command_and_each_of_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    assert told.startswith("usage: text-telescope ")
    for part in ("serve", "upscale", "read", "bulk", "models", "settings", "new-key", "version"):
        assert f"text-telescope {part}" in told


def test_the_versions_of_program_python_and_runtimes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    assert main(["version"]) == 0
    listed = capsys.readouterr().out
    names = [line.split(" ")[0] for line in listed.splitlines()]
    assert names[0] == "text-telescope"
    assert {"openvino", "Python"} <= set(names)
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == listed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "bar"),
    [
        (["upscale", "examples/crops", "-o"], r"100%\|\S+\| 12/12 "),
        (["bulk", "examples/crops"], r"100\.0 %\|\S+\| 12 pictures, 0 failed \["),
    ],
)
def test_a_terminal_shows_a_bar_and_then_a_summary(command: list[str], bar: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    with at_a_terminal("-m", "app", *command, str(tmp_path / "out")) as terminal:
        shown = terminal.read()
    assert shown.startswith("Loading tbsrn and warming up")
    assert re.search(bar, shown), shown
    assert re.search(r"\n12 (crops: |pictures done)", shown), shown


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().err
    assert "text-telescope serve " in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_closed_pipe_ends_a_list_without_a_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "app", "settings"], cwd=REPOSITORY, stdout=closed, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_an_interrupted_bulk_job_says_that_it_can_be_resumed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.__main__.bulk", interrupted)
    assert main(["bulk", "in", "out"]) == 130
    assert "the same command resumes the job" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_store_without_models_is_told_in_one_sentence(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["models", "--model-store", str(tmp_path / folder)]) == 2
    assert f"{folder} holds no models" in capsys.readouterr().err


def test_models_lists_the_store(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "tbsrn:1" in capsys.readouterr().out


def test_a_store_with_a_damaged_model_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tbsrn" / "1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    assert main(["models", "--model-store", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_service_upscales_as_this_process_does(
    server: Server, tmp_path: Path, predictor: Predictor, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for i in range(70):
        (tmp_path / "in" / "sub" / f"{i}.png").write_bytes(png((3 * i, 255 - i, i), height=10 + i % 7))
    (tmp_path / "in" / "bad.png").write_bytes(b"\0\1\2\3")
    there, here = tmp_path / "there", tmp_path / "here"
    assert main(["upscale", "--url", server.url, str(tmp_path / "in"), "-o", str(there)]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith(str(tmp_path))]
    assert told == [f"{tmp_path}/in/bad.png: These 4 bytes are not an image in {ACCEPTED}."]
    assert locally(find([tmp_path / "in"], here), predictor) == 1
    predictor.close()
    for i in range(70):
        name = f"sub/{i}.png"
        assert (decode((there / name).read_bytes()) == decode((here / name).read_bytes())).all()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--url", "http://127.0.0.1:1"], "text-telescope: The service cannot be reached at http://127.0.0.1:1: "),
        (["--url", "127.0.0.1:1"], "does not begin with http://"),
        (["--url", "http://127.0.0.1:1", "--model-store", "models"], "--model-store is the service's own choice"),
    ],
)
def test_a_service_that_cannot_be_used_is_told_in_one_sentence(
    arguments: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(png())
    assert main(["upscale", *arguments, str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert why in err
    assert err.count("\n") == 1


def test_an_unknown_model_of_the_service_is_told_in_one_sentence(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(png())
    arguments = [
        "upscale",
        "--url",
        server.url,
        "--model",
        "other",
        str(tmp_path / "a.png"),
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 2
    assert "'other' is not served here" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["httpx", "text_telescope"])
def test_a_missing_client_is_told_with_its_distribution(
    missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("text_telescope")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["upscale", "--url", "http://127.0.0.1:1", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("text-telescope: --url needs the Python client (")
    assert missing in error
    assert error.endswith("; install its wheel, or in the repository: pip install ./client\n")
