"""Rules of the whole repository that no single module can hold."""

import ast
import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

FORBIDDEN = {
    "app": {"training", "bench"},
    "training": {"app", "bench"},
    "model_store": {"app", "training", "bench"},
    "client": {"app", "training", "bench", "model_store"},
}
# Each part imports only parts that stand after it.
ORDER = {
    "app": "__main__ main bulk server demo http serving batching ocr telemetry imaging inference settings errors",
    "training": "pages calibration engines data",
}


def imports(path: Path) -> set[str]:
    """The modules and names that a file imports, at its top or inside its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def modules(package: str) -> dict[str, set[str]]:
    """Every module of a package, with the modules of the package that it imports."""
    files = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((REPOSITORY / package).rglob("*.py"))
    }
    assert files
    return {name: (imports(path) & files.keys()) - {name} for name, path in files.items()}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_in_one_direction(package: str) -> None:
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        assert not {name.split(".")[0] for name in imports(path)} & FORBIDDEN[package], path


@pytest.mark.parametrize("package", ORDER)
def test_the_parts_of_a_package_import_downwards_only(package: str) -> None:
    order = ORDER[package].split()
    if package == "app":
        assert {path.stem for path in (REPOSITORY / "app").iterdir()} - {"__init__", "__pycache__"} == set(order)
    for module, imported in modules(package).items():
        for other in imported:
            upper, lower = (name.split(".")[1] if "." in name else "" for name in (module, other))
            if {upper, lower} <= set(order):
                assert order.index(upper) <= order.index(lower), f"{module} imports {other}"


@pytest.mark.parametrize("package", ["app", "training", "model_store", "bench"])
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    left = modules(package)
    while free := [name for name, imported in left.items() if not imported & left.keys()]:
        for name in free:
            del left[name]
    assert not left, "each of these imports another of them"


@pytest.mark.parametrize("package", ["app", "model_store", "client"])
def test_no_file_is_long(package: str) -> None:
    for path in (REPOSITORY / package).rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path


def test_one_module_alone_reads_the_pictures_of_users() -> None:
    others = {
        "client/text_telescope/lossless.py": "counts the frames of an image that is open",
        "client/text_telescope/pictures.py": "reads the service's responses",
        "training/data/degrade.py": "reads the JPEG that it has just written, to make its artefacts",
        "training/calibration/rendered.py": "the same",
    }
    reads = re.compile(r"Image\.open\(|\bimdecode\(|\bimread\(|\bimdecodemulti\(|ImageFile\.Parser")
    found = {
        str(path.relative_to(REPOSITORY))
        for package in ("app", "model_store", "training", "client", "bench")
        for path in (REPOSITORY / package).rglob("*.py")
        if reads.search(path.read_text())
    }
    assert found == {"model_store/pictures.py", *others}


def test_the_serving_environment_needs_neither_paddle_nor_torch() -> None:
    needed: set[str] = set()
    waiting = ["text-telescope[cpu]"]
    while waiting:
        requirement = Requirement(waiting.pop())
        for extra in requirement.extras or {""}:
            try:
                lines = requires(requirement.name) or []
            except PackageNotFoundError:  # for another platform or Python
                continue
            for line in lines:
                below = Requirement(line)
                wanted = below.marker is None or below.marker.evaluate({"extra": extra})
                if wanted and below.name.lower() not in needed:
                    needed.add(below.name.lower())
                    waiting.append(str(below).split(";")[0])
    assert {"fastapi", "openvino", "opencv-python-headless"} <= needed
    left_out = r"paddle|torch|onnxruntime|opencv-python$|ray$|pyarrow|opentelemetry-(sdk|exporter)"
    assert not {name for name in needed if re.match(left_out, name)}


def test_the_constraints_pin_exactly_and_name_no_index() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 30
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin), pin


def test_every_dependency_has_its_reason_written_down() -> None:
    text = (REPOSITORY / "docs" / "dependencies.md").read_text()
    for line in requires("text-telescope") or []:
        name = Requirement(line).name
        assert re.search(rf"[| `]{re.escape(name)}[ |`,]", text, re.IGNORECASE), name


def test_the_readme_names_only_targets_that_exist() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"[`\n]make ([a-z-]+)", readme)) <= targets


@pytest.mark.parametrize("program", ["app", "bench", "training"])
def test_every_command_in_the_documents_is_one_its_program_takes(program: str) -> None:
    documents = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    main = (REPOSITORY / program / "__main__.py").read_text()
    typed = rf"python -m {program} " + ("|(?:^|[`/])text-telescope " if program == "app" else "")
    used = {c for d in documents for c in re.findall(rf"(?m)(?:{typed})([a-z][a-z-]*)", d.read_text())}
    assert used
    for command in used:
        assert f'"{command}"' in main, command


def test_each_document_says_first_for_whom_it_is() -> None:
    for document in (REPOSITORY / "docs").glob("*.md"):
        first = document.read_text().split("\n\n")[1]
        assert first.startswith("For "), document.name
