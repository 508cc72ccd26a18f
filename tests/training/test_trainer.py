"""The training loop: what a run leaves, and that nothing that interrupts it changes what it learns."""

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorboardX")
from tensorboardX.proto.event_pb2 import Event

from model_store.manifest import PixelSpec
from tests.conftest import REPOSITORY
from tests.training.fake_engine import FakeEngine
from training import train as command
from training.__main__ import main
from training.config import TrainConfig
from training.config_file import read_config
from training.errors import CheckpointError, RunError
from training.run_state import Identity, RunProgress, load_run, save_run
from training.trainer import Trainer, open_loader
from training.validation import Evaluation

TINY = REPOSITORY / "training" / "configs" / "tiny.yml"
FAST = ["data.workers=0", "data.rendered=10", "data.rendered_validation=3", "run.batch_size=2", "run.steps=12",
        "run.log_every=2", "run.evaluate_every=4", "run.save_every=3", "run.sheet_rows=2"]  # fmt: skip
TIMED = ("steps_per_s",)  # the only column that may differ between equal runs
IDENTITY = Identity("fake", {"blocks": 1, "hidden": 4}, {}, None)


def config(out: Path, *overrides: str) -> TrainConfig:
    return read_config(TINY, TrainConfig, [*FAST, f"out={out}", *overrides])


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeEngine]:
    """train(config, resume=False, engine=None) -> the engine that learnt."""

    def run(settings: TrainConfig, *, resume: bool = False, engine: FakeEngine | None = None) -> FakeEngine:
        engine = engine or FakeEngine()
        monkeypatch.setattr(command, "open_telescope", lambda _: engine)
        command.train(settings, resume=resume)
        return engine

    return run


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open(newline="") as stream:
        return [{k: v for k, v in row.items() if k not in TIMED} for row in csv.DictReader(stream)]


def test_a_run_leaves_curve_weights_sheets_settings_and_state(tmp_path: Path, train: Callable[..., Any]) -> None:
    engine = train(config(tmp_path / "run"))
    assert engine.steps == list(range(12))
    out = tmp_path / "run"
    losses = [float(row["loss"]) for row in rows(out) if row["loss"]]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    evaluated = [row for row in rows(out) if row["val_psnr"]]
    assert [row["step"] for row in evaluated] == ["4", "8", "12"]
    assert len({row["val_psnr_bicubic"] for row in evaluated}) == 1
    assert read_config(out / "config.yml", TrainConfig) == config(out)
    assert (out / "last.safetensors").read_text().startswith("12 ")
    with Image.open(out / "sheets" / "step0000012.png") as sheet:
        assert sheet.size == (4 * (128 + 4), 2 * (32 + 4))
    (events,) = (out / "tensorboard").glob("events*")
    shown = tensorboard(events)
    assert shown["loss"] == pytest.approx(losses)
    assert shown["validation/psnr"] == pytest.approx([float(row["val_psnr"]) for row in evaluated])
    assert len(shown["lr-bicubic-sr-hr"]) == 3


def tensorboard(events: Path) -> dict[str, list[float]]:
    """What TensorBoard shows, by tag: scalars in order, and the width of each picture."""
    found: dict[str, list[float]] = {}
    content = events.read_bytes()
    while content:  # each record: length of 8 bytes, check sum of 4, event, check sum of 4
        length = int.from_bytes(content[:8], "little")
        for value in Event.FromString(content[12 : 12 + length]).summary.value:
            found.setdefault(value.tag, []).append(value.image.width or value.simple_value)
        content = content[16 + length :]
    return found


def test_a_terminal_sees_a_progress_bar_with_the_loss(
    tmp_path: Path, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    train(config(tmp_path / "run"))
    assert re.search(r"12/12 .*step/s, loss=0\.\d+", terminal.getvalue())


def test_the_best_weights_are_those_of_the_best_evaluation(tmp_path: Path) -> None:
    out, scores = tmp_path / "run", iter([3.0, 7.0, 5.0])
    engine, settings = FakeEngine(), config(tmp_path / "run")
    loader = open_loader(settings, PixelSpec(16, 64, 2), engine)
    run = Trainer(
        settings, engine, loader, evaluate=lambda: Evaluation({}, next(scores)), columns=("mse",), resume=False
    )
    run.fit()
    assert (run.progress.best, run.progress.best_step) == (7.0, 8)
    assert (out / "best.safetensors").read_text().startswith("8 ")


def without_torch(folder: Path) -> dict[str, str]:
    """The environment of a process that finds no PyTorch, which TensorBoard's writer would import."""
    (folder / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    return {**os.environ, "PYTHONPATH": f"{folder}:{REPOSITORY}"}


@pytest.mark.slow
def test_a_stopped_run_says_how_to_go_on_and_then_equals_an_unbroken_one(
    tmp_path: Path, train: Callable[..., Any]
) -> None:
    whole = train(config(tmp_path / "whole"))
    command = [sys.executable, "-m", "tests.training.stopped_run", str(tmp_path)]
    stopped = subprocess.run(command, env=without_torch(tmp_path), capture_output=True, text=True)
    assert stopped.returncode == 0, stopped.stderr
    said = stopped.stdout
    assert said.count("stopped after step 7; go on with the same command and --resume") == 2
    for name in ("SIGINT", "SIGTERM"):
        assert f"{name} ended the run with 130" in said
        out = tmp_path / name
        resumed = train(config(out), resume=True)
        assert resumed.steps == [7, 8, 9, 10, 11]
        assert (resumed.gain, resumed.rates) == (whole.gain, whole.rates[7:])
        assert rows(out) == rows(tmp_path / "whole")


def test_rows_after_the_state_resumed_from_are_dropped(tmp_path: Path, train: Callable[..., Any]) -> None:
    train(config(tmp_path / "whole"))
    engine = FakeEngine()

    def die(step: int) -> None:
        if step == 11:
            raise ZeroDivisionError  # as good as a kill: state of step 9, rows of step 10

    engine.on_step = die
    with pytest.raises(ZeroDivisionError):
        train(config(tmp_path / "run"), engine=engine)
    assert rows(tmp_path / "run")[-1]["step"] == "10"
    with (tmp_path / "run" / "metrics.csv").open("a") as stream:
        stream.write("11,1,0.0")  # a row cut off in the middle
    assert train(config(tmp_path / "run"), resume=True).steps == [9, 10, 11]
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_a_loss_that_is_no_number_stops_the_run_with_its_batch_saved(
    tmp_path: Path, train: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, out = FakeEngine(), tmp_path / "run"
    engine.poisoned_at = 7
    monkeypatch.setattr(command, "open_telescope", lambda _: engine)
    assert main(["train", "-c", str(TINY), "-o", *FAST, f"out={out}"]) == 2
    said = capsys.readouterr().err
    assert "stopped at step 7, before it changed the weights: loss is nan" in said
    with np.load(out / "not-finite-step7-rank0.npz") as batch:
        assert (batch["lr"].shape, batch["hr"].shape, len(batch["labels"])) == ((2, 3, 16, 64), (2, 3, 32, 128), 2)
    engine.poisoned_at = -1
    assert train(config(out), resume=True).steps[0] == 6


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path, train: Callable[..., Any]) -> None:
    train(config(tmp_path / "run"))
    with pytest.raises(RunError, match="holds a run already; go on with --resume"):
        train(config(tmp_path / "run"))


def test_nothing_to_resume_is_one_sentence(tmp_path: Path, train: Callable[..., Any]) -> None:
    with pytest.raises(RunError, match=r"nothing to resume: .*last\.ckpt does not exist"):
        train(config(tmp_path / "run"), resume=True)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, train: Callable[..., Any]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write to .*file"):
        train(config(tmp_path / "file" / "run"))


def test_a_state_of_another_architecture_is_refused_naming_what_differs(
    tmp_path: Path, train: Callable[..., Any]
) -> None:
    train(config(tmp_path / "run"))
    other = FakeEngine(architecture={"blocks": 5, "hidden": 4})
    with pytest.raises(RunError, match="of another run: blocks was 1, now 5; give another out"):
        train(config(tmp_path / "run"), resume=True, engine=other)


def test_settings_changed_on_resuming_are_said(
    tmp_path: Path, train: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(tmp_path / "run"))
    engine = train(config(tmp_path / "run", "run.steps=14", "optimiser.learning_rate=0.001"), resume=True)
    assert engine.rates == [0.001, 0.001]
    said = capsys.readouterr().out
    assert "after step 12; optimiser.learning_rate 0.004 -> 0.001; run.steps 12 -> 14" in said


def test_a_truncated_or_foreign_state_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save_run(path, {"a": np.zeros(1000)}, progress=RunProgress(), identity=IDENTITY)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"last\.ckpt is not the state of a training run"):
        load_run(path, identity=IDENTITY)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"last\.ckpt is not the state"):
        load_run(path, identity=IDENTITY)


def test_a_state_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    save_run(path, {"a": np.zeros(3)}, progress=RunProgress(step=1), identity=IDENTITY)

    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*last\.ckpt: No space left"):
        save_run(path, {"a": np.ones(3)}, progress=RunProgress(step=2), identity=IDENTITY)
    arrays, progress, _ = load_run(path, identity=IDENTITY)
    assert (arrays["a"].tolist(), progress.step) == ([0.0, 0.0, 0.0], 1)


def test_an_unknown_engine_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-c", str(TINY), "-o", "engine=abacus"]) == 2
    assert "engine is 'abacus'; there are: paddle" in capsys.readouterr().err


def test_a_data_root_that_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "open_telescope", lambda _: FakeEngine())
    assert main(["train", "-c", str(TINY), "-o", f"data.train={tmp_path / 'none'}"]) == 2
    assert f"{tmp_path / 'none'} is not a folder" in capsys.readouterr().err


# --- with Paddle, in a process of its own ---------------------------------------------------------

SMALL = ["model.height=8", "model.width=16", "model.hidden=2", "model.dropout=0.1", "run.ema_decay=0.9",
         "data.rendered=40", "data.rendered_validation=4", "data.workers=1", "run.batch_size=4", "run.steps=30",
         "run.log_every=1", "run.evaluate_every=15", "run.save_every=7"]  # fmt: skip
# Waits for its end after a row that no saved state has.
KILLED = """
import sys, time
from training.__main__ import main
from training.trainer import Trainer
record = Trainer._record
def wait(trainer, *args):
    record(trainer, *args)
    if trainer.progress.step == 10:
        print("waits", flush=True)
        time.sleep(600)
if __name__ == "__main__":
    Trainer._record = wait
    sys.exit(main(sys.argv[1:]))
"""


def small_run(out: Path, *more: str) -> list[str]:
    return ["train", "-c", str(TINY), *more, "-o", *SMALL, f"out={out}"]


@pytest.mark.slow
def test_a_run_killed_and_resumed_continues_the_curve_to_the_digit(tmp_path: Path) -> None:
    pytest.importorskip("paddle")
    from training.weights_file import read_checkpoint

    assert main(small_run(tmp_path / "whole")) == 0
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "killed.py"), *small_run(tmp_path / "killed")]
    with subprocess.Popen(command, env=without_torch(tmp_path), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line == "waits\n" for line in process.stdout)
        process.kill()
    assert len(rows(tmp_path / "killed")) == 10
    assert main(small_run(tmp_path / "killed", "--resume")) == 0
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    for name in ("best.safetensors", "last.safetensors"):
        ours, theirs = (read_checkpoint(tmp_path / run / name)[0] for run in ("killed", "whole"))
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours | theirs)
    losses = [float(row["loss"]) for row in rows(tmp_path / "whole") if row["loss"]]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
