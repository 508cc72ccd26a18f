"""The README is true on a fresh machine: each of its blocks runs as printed, in the environment that it names.

A block of bash or Python is preceded by its environment, as a comment and in the text of its section:

    <!-- after: make serve -->               a copy of the repository, with the service running
    <!-- after: pip install ./client ... --> a new environment with these packages, and the same service

A block without a comment is `make serve` itself, or stands in SKIPPED. The commands in sentences measure or train
for a long time: only their options are compared with their programs.
"""

import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.app.process import SOON_READY, ready, wait_until
from tests.conftest import REPOSITORY
from tests.distributions import need_an_index

TEXT = (REPOSITORY / "README.md").read_text()
SERVE = "make serve"
SKIPPED = {  # the first line of a block: why it does not run here
    "docker compose up": "it needs a Docker engine; tests/docker has its configuration",
    ".venv/bin/python -m examples.rapidocr_pipeline --url http://127.0.0.1:8000": "tests/examples runs it",
}
PROGRAMS = {"curl": "curl", "pytesseract": "tesseract"}  # a word of a block: a program that pip does not install
_BLOCK = re.compile(r"(?:^<!-- after: ([^\n]+) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """section: the text between the block and the heading before it."""

    after: str
    language: str
    code: str
    section: str

    def __str__(self) -> str:
        return self.code.splitlines()[0]


def blocks() -> Iterator[Block]:
    for found in _BLOCK.finditer(TEXT):
        section = re.split(r"^#+ ", TEXT[: found.start()], flags=re.MULTILINE)[-1]
        after, language, code = found.groups(default="")
        yield Block(after, language, code, section)


BLOCKS = list(blocks())
RUN = [block for block in BLOCKS if str(block) not in (*SKIPPED, SERVE)]


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables of a machine that has pip's settings and python3, and nothing of this project."""
    own = Path(sys.executable).parent
    variables = {
        name: value
        for name, value in os.environ.items()
        if not re.match("TELESCOPE_|PYTHON|VIRTUAL_ENV|MAKE|MFLAGS|ARGS$|PIP_CONSTRAINT", name)
    }
    curl = tmp_path_factory.mktemp("curl")
    (curl / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    path = [folder for folder in variables["PATH"].split(":") if Path(folder) != own]
    return variables | {
        "PATH": ":".join(path),
        "PYTHON": getattr(sys, "_base_executable", sys.executable),  # of the Makefile
        "CURL_HOME": str(curl),
        "PIP_CONSTRAINT": str(REPOSITORY / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "0",  # to pip: do not compile. A module is compiled at its first import; most have none
        **SOON_READY,
    }


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory, machine: dict[str, str]) -> Path:
    """A copy of the repository's files, as `git clone` makes one, with the changes that are not committed."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("this is no copy of the repository, which a reader would clone")
    folder = tmp_path_factory.mktemp("clone")
    need_an_index(folder)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True).stdout.split("\0"):
        if name and (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def port(clone: Path, machine: dict[str, str]) -> Iterator[int]:
    """The port of the service that the block `make serve` installs and starts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    log = clone / "serve.log"
    with log.open("w") as stream:
        service = subprocess.Popen(
            ["bash", "-c", SERVE],
            cwd=clone,
            env={**machine, "TELESCOPE_PORT": str(port)},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        wait_until(lambda: ready(f"http://127.0.0.1:{port}") or service.poll() is not None, 600, every_s=0.2)
        assert service.poll() is None, log.read_text()
        yield port
    finally:
        if service.poll() is None:
            os.killpg(service.pid, signal.SIGTERM)
            service.wait(30)


@pytest.fixture(scope="session")
def python(clone: Path, machine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The interpreter of an environment: python("pip install ./client")."""

    @cache
    def install(after: str) -> str:
        if after == SERVE:
            return f"{clone}/.venv/bin/python"
        folder = tmp_path_factory.mktemp("environment")
        subprocess.run([machine["PYTHON"], "-m", "venv", "--without-pip", folder], check=True)
        pip = f"{sys.executable} -m pip --python {folder}/bin/python"  # a pip of its own takes seconds to make
        command = ["bash", "-c", after.replace("pip", pip, 1)]
        done = subprocess.run(command, cwd=clone, env=machine, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return f"{folder}/bin/python"

    return install


@pytest.mark.slow
@pytest.mark.parametrize("block", RUN, ids=str)
def test_a_block_runs_as_printed_where_it_says(
    block: Block, clone: Path, python: Callable[[str], str], port: int, machine: dict[str, str]
) -> None:
    for word, program in PROGRAMS.items():
        if word in block.code and not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    code = re.sub(r"(localhost|127\.0\.0\.1):8000", f"127.0.0.1:{port}", block.code)
    interpreter = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [python(block.after), "-c"]
    done = subprocess.run([*interpreter, code], cwd=clone, env=machine, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = [clone / name for name in re.findall(r" -o (\S+)", code)]
    assert done.stdout or outputs
    for path in outputs:
        assert any(path.iterdir()) if path.is_dir() else path.stat().st_size


@pytest.mark.parametrize("block", RUN, ids=str)
def test_a_block_names_its_environment_in_the_text_too(block: Block) -> None:
    assert block.language in ("bash", "python")
    assert block.after == SERVE or block.after.startswith("pip install ")
    assert f"`{block.after}`" in " ".join(block.section.split())


def test_every_block_that_is_skipped_exists() -> None:
    assert {str(block) for block in BLOCKS} >= {*SKIPPED, SERVE}


def commands() -> list[str]:
    """The commands in the README's sentences."""
    return [" ".join(found.split()) for found in re.findall(r"`python -m (\w[^`]+)`", TEXT)]


@pytest.mark.parametrize("command", commands())
def test_a_command_in_a_sentence_has_the_options_that_it_is_given(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *arguments = command.split()
    if name in ("bench", "training"):
        pytest.importorskip("paddle", reason="the commands of bench and training need `make test`")
        name += ".__main__"
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main([*arguments, "--help"])
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    for option in re.findall(r"--[a-z-]+", " ".join(arguments)):
        assert option in help_text


def slugs(document: Path) -> set[str]:
    """The anchors that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKING = ["README.md", "client/README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
LINKING += [f"docs/{file.name}" for file in sorted((REPOSITORY / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", LINKING)
def test_every_link_leads_to_a_file_and_a_heading(document: str) -> None:
    source = REPOSITORY / document
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)#?([^)]*)\)", source.read_text()):
        file = source.parent / target if target else source
        assert file.exists(), target
        assert not anchor or anchor in slugs(file), f"{target}#{anchor}"
