"""Checks of the Dockerfiles that need no build."""

import subprocess
import tomllib

import pytest

from tests.conftest import REPOSITORY
from tests.docker.conftest import DOCKER, find, needs
from tests.docker.images import SERVING, bases

KINDS = (*SERVING, "train")


@needs("hadolint")
def test_the_dockerfiles_pass_hadolint() -> None:
    files = sorted(DOCKER.glob("*.Dockerfile"))
    assert {file.stem for file in files} == set(KINDS)
    done = subprocess.run([str(find("hadolint")), *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_pinned_labelled_with_this_version_and_runs_without_root(kind: str) -> None:
    text = (DOCKER / f"{kind}.Dockerfile").read_text()
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    (base,) = bases(kind)
    assert any(character.isdigit() for character in base.rpartition(":")[2]), base
    assert f'image.version="{version}"' in text
    assert base in text.partition("image.base.name")[2]
    assert "\nUSER 10001:10001\n" in text
    assert "--constraint constraints.txt" in text
