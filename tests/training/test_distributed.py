"""Several processes learn what one would: gradients averaged over gloo, one writer, all stop together."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")
from tests.conftest import REPOSITORY  # noqa: E402
from tests.training.rank_script import joined_batch, settings, share_of  # noqa: E402
from training.architecture import RecogniserConfig  # noqa: E402
from training.engines.paddle import telescope  # noqa: E402
from training.recogniser import Recogniser  # noqa: E402
from training.recogniser_file import save_recogniser  # noqa: E402

pytestmark = pytest.mark.slow  # processes of their own
READER = RecogniserConfig(stem=(4, 8), stages=(8, 8, 8, 8), blocks=(1, 1, 1, 1), width=32, heads=4, inner=32)
Arrays = dict[str, np.ndarray]


def launch(folder: Path, script: Path, *arguments: str) -> None:
    """Run a script in two processes, as a user does on two cards; this engine needs no PyTorch."""
    launcher = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    command = [*launcher, "--log_dir", str(folder / "log"), str(script), *arguments]
    (folder / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{REPOSITORY}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, timeout=240, check=False)
    logs = "".join(path.read_text()[-3000:] for path in (folder / "log").glob("workerlog*"))
    assert done.returncode == 0, logs + done.stderr.decode()[-2000:]


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recogniser") / "reader.safetensors"
    paddle.seed(3)
    save_recogniser(path, Recogniser(READER), source={})
    return path


def training(folder: Path, *settings: str) -> list[str]:
    """The arguments of a small training run."""
    small = ["model.height=8", "model.width=16", "model.hidden=2", "data.rendered=40", "data.workers=0"]
    small += ["data.rendered_validation=4", "run.batch_size=4", "run.evaluate_every=3", "run.save_every=2"]
    tiny = REPOSITORY / "training" / "configs" / "tiny.yml"
    return ["train", "-c", str(tiny), "-o", *small, "run.log_every=1", f"out={folder / 'run'}", *settings]


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory, recogniser: Path) -> Path:
    """What two processes left: the arrays of each, and a run of three steps."""
    folder = tmp_path_factory.mktemp("ranks")
    script = REPOSITORY / "tests" / "training" / "rank_script.py"
    launch(folder, script, str(recogniser), str(folder), *training(folder, "run.steps=3"))
    return folder


@pytest.fixture(scope="module")
def ranks(launched: Path) -> list[Arrays]:
    return [dict(np.load(launched / f"rank{rank}.npz")) for rank in (0, 1)]


def gradients(rank: Arrays) -> Arrays:
    return {name.removeprefix("gradient/"): value for name, value in rank.items() if name.startswith("gradient/")}


def test_averaged_gradients_equal_one_process_on_the_joined_batch(ranks: list[Arrays], recogniser: Path) -> None:
    alone = telescope(settings(recogniser)).gradients(joined_batch())
    half = telescope(settings(recogniser)).gradients(share_of(joined_batch(), 0, 2))
    assert gradients(ranks[0]).keys() == alone.keys()
    for name, value in alone.items():
        largest = np.abs(value).max()
        for rank in ranks:
            np.testing.assert_allclose(gradients(rank)[name], value, rtol=0, atol=1e-5 * largest + 1e-9)
    assert any(np.abs(half[name] - value).max() > 1e-2 * np.abs(value).max() for name, value in alone.items())


def test_a_parameter_that_some_ranks_do_not_use_stays_the_same_on_all(ranks: list[Arrays]) -> None:
    for rank in ranks:
        assert rank["spare/rarely.weight"].tolist() == [[0.5], [0.5]]  # the mean of one and none
        assert "spare/never.weight" not in rank
    learnt = [
        name for name in ranks[0] if name.startswith("learnt/") and not name.endswith(("_mean", "_variance"))
    ]
    assert "learnt/rarely.weight" in learnt
    for name in learnt:
        assert np.array_equal(ranks[0][name], ranks[1][name]), name


def test_a_flag_on_one_rank_is_seen_on_all(ranks: list[Arrays]) -> None:
    for rank in ranks:
        assert rank["any"].tolist() == [False, True]


def test_a_loss_that_is_no_number_on_one_rank_is_refused_on_all(ranks: list[Arrays]) -> None:
    for rank in ranks:
        assert rank["refused"]


def test_two_processes_train_and_resume_with_one_writer(launched: Path) -> None:
    script = REPOSITORY / "training" / "__main__.py"
    launch(launched, script, *training(launched, "run.steps=6"), "--resume")
    with (launched / "run" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows if row["loss"]] == ["1", "2", "3", "4", "5", "6"]
    assert [row["epoch"] for row in rows if row["loss"]] == ["1"] * 5 + ["2"]  # 5 steps in each
    assert (launched / "run" / "best.safetensors").is_file()
