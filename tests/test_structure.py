"""Rules of the whole repository that no single module can hold."""

import ast
import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

FORBIDDEN = {"app": {"training"}, "training": {"app"}, "model_store": {"app", "training"}}


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, at its top or inside its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_in_one_direction(package: str) -> None:
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert files
    for path in files:
        assert not imports(path) & FORBIDDEN[package], path


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


def test_the_readme_names_only_targets_and_files_that_exist() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"[`\n]make ([a-z-]+)", readme)) <= targets
    for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", readme):
        assert (REPOSITORY / link).exists(), link


@pytest.mark.parametrize("program", ["app", "bench", "training"])
def test_every_command_in_the_documents_is_one_its_program_takes(program: str) -> None:
    documents = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    main = (REPOSITORY / program / "__main__.py").read_text()
    used = {c for d in documents for c in re.findall(rf"python -m {program} ([a-z][a-z-]*)", d.read_text())}
    assert used
    for command in used:
        assert f'"{command}"' in main, command
