"""`python -m training` as a user runs it: one sentence and code 2, whatever else a library has to say."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("paddle")
from tests.conftest import REPOSITORY
from training import __main__ as command_line
from training import predict
from training.checkpoint import save_checkpoint
from training.config import PretrainConfig, TrainConfig
from training.config_file import read_config
from training.errors import CheckpointError
from training.tbsrn import TBSRN

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
TINY = str(REPOSITORY / "training" / "configs" / "tiny.yml")
CROP = str(REPOSITORY / "examples" / "crops" / "harbour.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["export", "--weights", "absent.safetensors", "--out", "out"], "absent.safetensors cannot be read"),
        (["train", "-c", TINY, "-o", "model.init=absent.safetensors"], "absent.safetensors cannot be read"),
    ],
)
def test_a_refusal_is_the_only_line_even_where_paddle_is_imported(
    arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    # Where PyTorch is installed, TensorBoard's writer imports it, which takes as long as Paddle.
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    command = [sys.executable, "-m", "training", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "commands",
    [
        {
            "paddle2onnx": ["export", "--weights", "w.safetensors", "--out", "out"],
            "rapidfuzz": ["evaluate", "--weights", "w.safetensors", "--data", "d"],
        },
        {
            "paddle": ["export", "--weights", "w.safetensors", "--out", "out"],
            "tensorboardX": ["train", "-c", TINY],
            "safetensors": ["average", "a.safetensors", "--out", "b.safetensors"],
            "openvino": ["predict", "--weights", "tbsrn", "--engine", "openvino", "--image", CROP, "--out", "o"],
        },
    ],
    ids=" ".join,
)
def test_a_broken_package_is_one_sentence_with_its_error(commands: dict[str, list[str]], tmp_path: Path) -> None:
    """Each command meets the broken package that stands before it."""
    for package in commands:
        (tmp_path / f"{package}.py").write_text("raise OSError('libgomp.so.1: cannot open shared object file')")
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    command = [sys.executable, "-m", "tests.training.stopped_commands", json.dumps([*commands.values()])]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == len(commands) * "ended with 2\n", ended.stderr
    for package, line in zip(commands, ended.stderr.splitlines(), strict=True):
        assert f"needs the package {package}, which is installed but cannot be loaded (OSError: libgomp" in line


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["train"], ["evaluate", "--weights", "w"]])
def test_what_is_missing_from_a_command_is_said_with_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m training" in capsys.readouterr().err


def documented_commands() -> list[list[str]]:
    """Every `python -m training ...` in the code blocks of docs/training.md, as words after `training`."""
    text = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    found = re.findall(r"^python -m .*?training(?:/__main__\.py)? (.*)$", blocks, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found]


def test_the_documents_name_every_command() -> None:
    assert {words[0] for words in documented_commands()} == set(command_line.COMMANDS)


@pytest.mark.parametrize("words", documented_commands(), ids=" ".join)
def test_a_documented_command_is_one_that_is_taken(words: list[str]) -> None:
    args = command_line._parser(words[0]).parse_args(words)
    if words[0] == "ablate":
        pytest.importorskip("torch")
        from training.ablate import Plan

        Plan.read(REPOSITORY / args.config)
    elif "config" in args:
        kind = TrainConfig if words[0] == "train" else PretrainConfig
        read_config(REPOSITORY / args.config, kind, args.override)


def test_ctrl_c_ends_a_command_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "run", interrupted)
    assert command_line.main(["predict", "--weights", "w", "--image", "i", "--out", "o"]) == 130


def test_a_checkpoint_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot write .*file/ours\.safetensors"):
        save_checkpoint(tmp_path / "file" / "ours.safetensors", TBSRN(blocks=1, hidden=2), source={})
