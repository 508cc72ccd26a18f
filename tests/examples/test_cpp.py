"""The C++ sample, built by the commands of its README, against the service's own steps."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import openvino as openvino_module
import pytest
from PIL import Image

from app.imaging.quality_gate import Mode, QualityGate, RoutingPolicy
from app.inference.runtimes import open_runtime
from app.serving.pipeline import CropOptions, CropPipeline
from model_store import BUNDLED
from model_store.blur import estimate
from model_store.calibration import Calibration, Rule
from model_store.pixels import Rgb
from model_store.store import ModelStore
from tests.conftest import REPOSITORY
from tests.examples.cpp_libraries import onnxruntime_root

SAMPLE = REPOSITORY / "examples" / "cpp"
README = (SAMPLE / "README.md").read_text()
CROPS = REPOSITORY / "examples" / "crops"
NEEDED = {  # Debian's package -> a file of it
    "cmake": "bin/cmake",
    "g++": "bin/g++",
    "libopencv-imgcodecs-dev": "include/opencv4/opencv2/imgcodecs.hpp",
    "nlohmann-json3-dev": "include/nlohmann/json.hpp",
}
ARTEFACT = ModelStore(BUNDLED).resolve("tbsrn:4")
PIPELINE = CropPipeline(
    ARTEFACT.manifest.pixels, QualityGate(Calibration.of(ARTEFACT)), sizes=ARTEFACT.manifest.input_sizes
)
BACKENDS = ("onnx", "openvino")
OPTIONS: list[tuple[Mode, str | None]] = [
    ("auto", None),
    ("always", None),
    ("auto", "rapidocr-v6"),
    ("always", "any"),
]
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Program:
    path: Path
    backends: list[str]
    log: str  # of CMake and the compiler

    def run(self, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.path), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
        )


def shell(command: str, **folders: Path) -> str:
    """Runs a command of the README in the sample's folder, with other folders; returns its output."""
    for name, folder in folders.items():
        command = re.sub(rf"(?<![-\w]){name}\b", str(folder), command)
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=SAMPLE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX Runtime for C++."""
    missing = [package for package, file in NEEDED.items() if not (Path("/usr") / file).exists()]
    if missing:
        pytest.skip(f"not installed: Debian's packages {', '.join(missing)}")
    return onnxruntime_root(tmp_path_factory.mktemp("libraries"))


@pytest.fixture(scope="module")
def program(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    build = tmp_path_factory.mktemp("build")
    (command,) = re.findall(r"^cmake -B build .*$", README, re.MULTILINE)
    log = shell(command.replace("-B build", f"-B build -DONNXRUNTIME_ROOT={root}"), build=build)
    path = build / "telescope"
    return Program(path, re.findall(r"Backend (\w+): /", log), log)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, program: Program) -> str:
    if request.param not in program.backends:
        pytest.skip(f"the library of {request.param} was not found: {program.log}")
    return str(request.param)


def drawn_crops() -> Iterator[tuple[str, npt.ArrayLike]]:
    """Crops of every kind: sharp, blurred, noisy, blank; of one tile or several; upright or on their side."""
    line = picture(REPOSITORY / "examples" / "pages" / "market.png")[40:90, :150]
    word = picture(CROPS / "harbour.png")
    soft = cv2.GaussianBlur(line, (0, 0), 2.4)
    noise = np.random.default_rng(1).normal(0, 12, line.shape)
    yield "sharp", line
    yield "noisy", np.clip(soft + noise, 0, 255)
    yield "side", np.rot90(cv2.resize(soft, (210, 70)))
    yield "blank", np.full((20, 60, 3), 200)
    yield "pixel", word[:1, :1]
    yield "tiny", cv2.resize(word, (9, 5), interpolation=cv2.INTER_AREA)
    yield "trained", cv2.resize(word, (64, 16), interpolation=cv2.INTER_AREA)
    yield "narrow", np.clip(cv2.resize(soft, (18, 63)) + np.rot90(noise[:18, :63]), 0, 255)
    yield "grid", cv2.resize(word, (110, 24))
    yield "tall", cv2.resize(word, (20, 120), interpolation=cv2.INTER_AREA)
    yield "wide", cv2.GaussianBlur(np.tile(cv2.resize(word, (80, 16)), (1, 7, 1)), (0, 0), 1.2)
    for height in (20, 34, 80):
        resized = cv2.resize(word, (height * 3, height), interpolation=cv2.INTER_AREA)
        yield f"rows-{height}", resized
        yield f"rows-{height}-blurred", cv2.GaussianBlur(resized, (0, 0), height / 14)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Rgb]:
    """File -> its pixels."""
    folder = tmp_path_factory.mktemp("crops")
    for name, rgb in drawn_crops():
        Image.fromarray(np.ascontiguousarray(rgb, np.uint8)).save(folder / f"{name}.png")
    return {path: picture(path) for path in sorted([*folder.glob("*.png"), *CROPS.glob("*.png")])}


def picture(path: Path) -> Rgb:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def copied_model(folder: Path) -> Path:
    """The model without the calibration beside it."""
    return shutil.copytree(ARTEFACT.path, folder / "4", ignore=shutil.ignore_patterns("paddle*", "weights"))


def test_the_crops_take_every_way(crops: dict[Path, Rgb]) -> None:
    always = [PIPELINE.prepare(rgb, CropOptions(policy=RoutingPolicy("always"))) for rgb in crops.values()]
    layouts = [layout for one in always for layout in one.views.layouts]
    assert {layout.tile for layout in layouts} == set(PIPELINE.sizes)
    assert {layout.turned for layout in layouts} == {False, True}
    rows_of_tiles = {(min(len(layout.tops), 2), min(len(layout.lefts), 9)) for layout in layouts}
    assert rows_of_tiles >= {(1, 1), (1, 2), (2, 1), (2, 2), (1, 9)}, "9: more than one batch"
    auto = [PIPELINE.gate.decide(rgb, RoutingPolicy("auto", "rapidocr-v6")) for rgb in crops.values()]
    assert {one.reason for one in auto} == {"blurred", "sharp", "blank"}


@pytest.mark.parametrize(("mode", "recogniser"), OPTIONS)
def test_the_pictures_are_those_of_the_service(
    mode: Mode, recogniser: str | None, backend: str, program: Program, crops: dict[Path, Rgb], tmp_path: Path
) -> None:
    named = ["--recogniser", recogniser] if recogniser else []
    done = program.run(*crops, "--out", tmp_path, "--mode", mode, *named, "--backend", backend)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    runtime = open_runtime(backend, ARTEFACT, device="cpu", threads=1, precision="fp32")
    options = CropOptions(policy=RoutingPolicy(mode, recogniser))
    for path, rgb in crops.items():
        prepared = PIPELINE.prepare(rgb, options)
        sr = [runtime.run(tile[None])[0] for tile in prepared.tiles]  # OpenVINO compiles each batch size
        expected, found = PIPELINE.finish(prepared, sr), picture(tmp_path / path.name)
        assert found.shape == expected.shape, path.name
        apart = np.abs(found.astype(int) - expected).max()
        assert apart <= (1 if prepared.decision.infers else 0), f"{path.name}: {prepared.decision}"
    runtime.close()


def test_the_compiler_has_no_warnings(program: Program) -> None:
    assert "warning" not in program.log.lower()
    assert "-Wall -Wextra" in (SAMPLE / "CMakeLists.txt").read_text()


def test_the_commands_of_the_readme_run(program: Program, tmp_path: Path) -> None:
    commands = re.findall(r"^(build/telescope [^#\n]*)", README, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        shell(command.replace("--benchmark", "--benchmark 1"), build=program.path.parent, out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in CROPS.glob("*.png")}


def test_the_benchmark_measures_every_backend(program: Program) -> None:
    done = program.run(*CROPS.glob("*.png"), "--benchmark", "1", "--mode=always")
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(\w+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +(\d+), (\d+) ", done.stdout, re.MULTILINE)
    assert {row[0] for row in rows} == set(program.backends)
    for _, per_second, prepare, network, finish, count, inferred in rows:
        assert float(per_second) * (float(prepare) + float(network) + float(finish)) == pytest.approx(
            1000, rel=0.2
        )
        assert int(inferred) == int(count) >= len(list(CROPS.glob("*.png")))


BAD = {
    "": "name one or more pictures",
    "CROP": "name a folder for the results with -o",
    "CROP -o OUT --foo": "the option --foo is unknown",
    "CROP -o": "-o needs a value",
    "CROP -o OUT --mode=sometimes": "--mode takes auto or always, not sometimes",
    "CROP -o OUT --threads none": "--threads takes a number from 1 to 1024, not none",
    "CROP -o OUT --backend paddle": "the backend paddle is not built in, only",
    "CROP -o OUT --recogniser other": "not calibrated for the recogniser other; known are any, rapidocr-v4,",
    "CROP -o OUT --model OUT": "OUT/manifest.json is missing; name the folder of a published model",
    "CROP -o OUT --model TEXT": "TEXT/manifest.json is missing",
    "CROP -o TEXT": "TEXT is not a folder",
    "CROP -o /proc/new": "/proc/new cannot be made",
    "CROP -o FOLDER_OF_CROP": "CROP is one of the inputs, and would be overwritten",
    "CROP CROP -o OUT": "would both become OUT/crop.png; rename one",
    "missing.png -o OUT": "missing.png does not exist",
    "OUT -o OUT": "OUT is a folder; name the pictures in it",
    "TEXT -o OUT": "TEXT is no picture that OpenCV can read",
    "TEXT --benchmark": "TEXT is no picture that OpenCV can read",
    "CROP -o TAKEN": "TAKEN/crop.png cannot be written",
    "CROP -o OUT --model DAMAGED": "DAMAGED/manifest.json cannot be used",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_reported_in_one_sentence(arguments: str, program: Program, tmp_path: Path) -> None:
    for folder in ("home", "out", "taken/crop.png", "damaged"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(CROPS / "harbour.png", tmp_path / "home" / "crop.png")
    (tmp_path / "text").write_text("no picture")
    (tmp_path / "damaged" / "manifest.json").write_text("{}")
    places = {
        "FOLDER_OF_CROP": tmp_path / "home",
        "CROP": tmp_path / "home" / "crop.png",
        "OUT": tmp_path / "out",
        "TEXT": tmp_path / "text",
        "TAKEN": tmp_path / "taken",
        "DAMAGED": tmp_path / "damaged",
    }
    typed, expected = arguments, BAD[arguments]
    for name, place in places.items():
        typed, expected = typed.replace(name, str(place)), expected.replace(name, str(place))
    done = program.run(*typed.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.startswith("telescope: ")
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


def test_a_damaged_network_is_reported_in_one_sentence(backend: str, program: Program, tmp_path: Path) -> None:
    damaged = copied_model(tmp_path) / "onnx" / "model.onnx"
    damaged.write_bytes(b"")
    done = program.run(
        CROPS / "harbour.png", "-o", tmp_path / "out", "--model", tmp_path / "4", "--backend", backend
    )
    assert done.returncode == 2
    assert re.fullmatch(rf"telescope: \w+ ?\w+ cannot load {damaged}.*; restore the file.*\n", done.stderr)


def test_an_unreadable_picture_spares_the_others(program: Program, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    done = program.run(tmp_path / "text.png", CROPS / "harbour.png", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["harbour.png"]


def test_a_model_without_calibration_super_resolves_every_crop(program: Program, tmp_path: Path) -> None:
    copied_model(tmp_path)
    outputs = []
    for options in (["--model", tmp_path / "4"], ["--model", tmp_path / "4", "--mode", "always"]):
        assert program.run(CROPS / "harbour.png", "-o", tmp_path / "out", *options).returncode == 0
        outputs.append((tmp_path / "out" / "harbour.png").read_bytes())
    assert outputs[0] == outputs[1]
    (tmp_path / "calibration-4.json").write_text('{"schema_version": 3, "model": "tbsrn:2"}')
    done = program.run(CROPS / "harbour.png", "-o", tmp_path / "out", "--model", tmp_path / "4")
    assert done.returncode == 2
    assert "calibration-4.json cannot be used (it must be of schema 3 and for tbsrn:4)" in done.stderr


def test_six_views_equal_the_services_in_every_size(
    program: Program, crops: dict[Path, Rgb], tmp_path: Path
) -> None:
    model = copied_model(tmp_path)
    rule = Rule(min_blur=0, max_noise=math.inf, target_blur=2, strength=0.7, views=6, strength_of_one=0.4)
    calibration = {"schema_version": 3, "model": "tbsrn:4", "rules": {"any": rule.as_json()}}
    (tmp_path / "calibration-4.json").write_text(json.dumps(calibration))
    done = program.run(*crops, "-o", tmp_path / "out", "--recogniser", "any", "--model", model)
    assert done.returncode == 0, done.stderr
    pipeline = CropPipeline(PIPELINE.spec, QualityGate(Calibration({"any": rule})), sizes=PIPELINE.sizes)
    options = CropOptions(policy=RoutingPolicy(recogniser="any"))
    runtime = open_runtime("openvino", ARTEFACT, device="cpu", threads=0, precision="fp32")
    seen = set()
    for path, rgb in crops.items():
        prepared = pipeline.prepare(rgb, options)
        seen.add(len(prepared.views.each) if prepared.decision.infers else 0)
        ours = pipeline.finish(prepared, [runtime.run(tile[None])[0] for tile in prepared.tiles])
        theirs = picture(tmp_path / "out" / f"{path.stem}.png")
        assert np.abs(ours.astype(int) - theirs).max() <= 1, path.stem
    assert seen >= {1, 2, 6}


def test_always_with_a_recogniser_takes_the_strength_of_its_second_opinions(
    program: Program, tmp_path: Path
) -> None:
    model = copied_model(tmp_path)

    def made(of_rule: float, **own: float) -> Rgb:
        rule = {"min_blur": 0, "max_noise": None, "target_blur": 2, "strength": of_rule}
        limits = {"any": {"below": 0.9, "margin": 0, **own}}
        calibration = {"schema_version": 3, "model": "tbsrn:4", "rules": {"any": rule}}
        content = json.dumps(calibration | {"second_opinions": {"limits": limits}})
        (tmp_path / "calibration-4.json").write_text(content)
        options = ["--mode", "always", "--recogniser", "any", "--model", model]
        assert program.run(CROPS / "harbour.png", "-o", tmp_path / "out", *options).returncode == 0
        return picture(tmp_path / "out" / "harbour.png")

    assert (made(0.4, strength=1) == made(1)).all()
    assert (made(0.4) != made(1)).any()


@pytest.mark.parametrize(("limit", "kept"), [(0.999, True), (1.001, False)])
def test_a_crop_is_kept_if_it_is_noisier_than_its_rule_allows(
    limit: float, kept: bool, program: Program, crops: dict[Path, Rgb], tmp_path: Path
) -> None:
    (noisy,) = (path for path in crops if path.stem == "noisy")
    rule = {"min_blur": 0, "max_noise": limit * estimate(crops[noisy]).noise, "target_blur": 2, "strength": 1}
    calibration = {"schema_version": 3, "model": "tbsrn:4", "rules": {"any": rule}}
    options = ["--recogniser", "any", "--model", copied_model(tmp_path)]
    (tmp_path / "calibration-4.json").write_text(json.dumps(calibration))
    assert program.run(noisy, "-o", tmp_path / "out", *options).returncode == 0
    assert (picture(tmp_path / "out" / "noisy.png").shape == crops[noisy].shape) == kept


def test_the_library_works_as_the_readme_shows(root: Path, program: Program, tmp_path: Path) -> None:
    cmake, code = (re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[0] for language in ("cmake", "cpp"))
    include, body = code.split("\n", 1)
    (tmp_path / "cpp").symlink_to(SAMPLE)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(reader CXX)\nadd_executable(reader reader.cpp)\n" + cmake
    )
    (tmp_path / "reader.cpp").write_text(
        f"{include}\n#include <opencv2/imgcodecs.hpp>\nint main(int, char** names) {{\n"
        "const cv::Mat page = cv::imread(names[1]);\nconst cv::Rect region(10, 20, 90, 20);\n"
        f"{body}\nreturn cv::imwrite(names[2], readable) ? 0 : 1;\n}}\n"
    )
    openvino = Path(openvino_module.__file__).parent / "cmake"
    options = f"-DONNXRUNTIME_ROOT={root} -DOpenVINO_DIR={openvino} -DCMAKE_BUILD_TYPE=Debug"
    shell(f"cmake -S {tmp_path} -B {tmp_path}/build {options} && cmake --build {tmp_path}/build")
    page, written, cut = REPOSITORY / "examples" / "pages" / "market.png", tmp_path / "a.png", tmp_path / "cut.png"
    subprocess.run([tmp_path / "build" / "reader", page, written], cwd=REPOSITORY, check=True)
    crop = picture(page)[20:40, 10:100]
    chosen = PIPELINE.prepare(crop, CropOptions(policy=RoutingPolicy(recogniser="tesseract"))).views
    layout = chosen.layouts[0]
    assert layout.tile[0] > layout.size[0], "no pixels of the page around the region could get into a tile"
    Image.fromarray(crop).save(cut)
    assert program.run(cut, "-o", tmp_path / "out", "--recogniser", "tesseract").returncode == 0
    assert (picture(written) == picture(tmp_path / "out" / "cut.png")).all()


def test_cmake_stops_without_any_backend(root: Path, tmp_path: Path) -> None:
    without = "-DCMAKE_DISABLE_FIND_PACKAGE_OpenVINO=ON -DONNXRUNTIME_LIBRARY=OFF"
    done = subprocess.run(f"cmake -B {tmp_path} {without}".split(), cwd=SAMPLE, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Neither ONNX Runtime nor OpenVINO was found; install one of them" in " ".join(done.stderr.split())
