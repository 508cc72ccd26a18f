"""Runs against the clock and ablations, as a user starts them; their pool and their steps by themselves."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("rapidocr")
from PIL import Image  # noqa: E402

from tests.conftest import REPOSITORY  # noqa: E402
from tests.training.drawn import WORDS, word, write_tar  # noqa: E402
from training.__main__ import main  # noqa: E402
from training.config import TrainConfig  # noqa: E402
from training.config_file import build_config, read_config  # noqa: E402
from training.data.pool import SLAB, Kind, Layout  # noqa: E402
from training.engines.torch import open_network, predictor  # noqa: E402
from training.engines.torch_learner import Learner  # noqa: E402
from training.engines.torch_net import TBSRN  # noqa: E402
from training.engines.torch_pool import Pool  # noqa: E402
from training.engines.torch_timed import open_makers, open_samples  # noqa: E402
from training.engines.torch_weights import load_telescope, save_telescope  # noqa: E402
from training.errors import ConfigError  # noqa: E402
from training.held_out import PRESETS  # noqa: E402
from training.stop import INTERRUPTED  # noqa: E402

CONFIGS = REPOSITORY / "training" / "configs"
READER = "rapidocr-v6"
# Of ten-minutes.yml, what makes it a rehearsal. amp: processors without bfloat16 are slow at imitating it.
SMALL = ["device=cpu", "run.batch_size=2", "run.amp=none", "data.workers=1", "data.validation_limit=1",
         "data.pool=100", f"loss.readers=[{READER}]", "data.held_out=0.3", "data.low=6",
         "data.synth.height_px=[32, 40]", "data.window=[20, 64]",
         # As many pairs of each kind, so that the pool is filled soon.
         "data.rendered=14", "data.scripts={latin: 0.1, greek: 0.9}", "data.window_share=0.6"]  # fmt: skip
SIZES: dict[str, Any] = {"height": 16, "width": 64, "blocks": 1, "hidden": 2, "stn": False, "dropout": 0.0,
                         "attention": False}  # fmt: skip
LATIN, OTHER = Kind(placed=True, latin=True), Kind(placed=True, latin=False)
STRETCHED = Kind(placed=False, latin=True)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    return write_tar(folder / "crops.tar", [(text, word(text, size=size)) for size in (40, 12) for text in WORDS])


@pytest.fixture(scope="module")
def small_start(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of a run that starts from a small network, instead of the one of ten-minutes.yml."""
    path, network = tmp_path_factory.mktemp("start") / "small.safetensors", TBSRN(**SIZES)
    last = getattr(network, f"block{SIZES['blocks'] + 3}")[-1]
    with torch.no_grad():  # nearly a plain light grey
        last.weight.mul_(0.05)
        last.bias.fill_(1.0)
    save_telescope(path, network, source={})
    return [f"model.init={path}", f"model.blocks={SIZES['blocks']}", f"model.hidden={SIZES['hidden']}"]


def started(*commands: list[str]) -> "subprocess.Popen[str]":
    """In a process group of its own, as a terminal or a cluster starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.stopped_commands", json.dumps(commands)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def said_until(process: "subprocess.Popen[str]", text: str) -> str:
    """Wait for a line with the text -> all that was said before it."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        if text in line:
            return said
        said += line
    pytest.fail(f"it ended without saying {text!r}: {said} {process.communicate()[1][-3000:]}")


def rehearsal(out: Path, crops: Path, *settings: str, flags: tuple[str, ...] = ()) -> list[str]:
    of = [f"out={out}", f"data.train={crops}", *SMALL, *settings]
    return ["-c", str(CONFIGS / "ten-minutes.yml"), *flags, "-o", *of]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


class Clock:
    """The time of a run: a second for each step, and a millisecond for each look at the clock."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock, step = Clock(), Learner.step

    def timed(learner: Learner, learning_rate: float) -> None:
        step(learner, learning_rate)
        clock.now += 1

    monkeypatch.setattr("training.engines.torch_timed.time", clock)
    monkeypatch.setattr(Learner, "step", timed)
    return clock


@pytest.mark.slow
def test_a_run_ends_in_its_time_and_leaves_weights_figures_and_a_sheet(
    crops: Path, tmp_path: Path, clock: Clock, small_start: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", *rehearsal(out, crops, "run.seconds=3", *small_start)]) == 0
    said, complained = capsys.readouterr()
    assert complained == ""
    assert {path.name for path in out.iterdir()} == {
        "average.safetensors", "last.safetensors", "evaluation.json", "metrics.csv", "log.txt", "sheet.png",
    }  # fmt: skip
    assert (out / "log.txt").read_text() == said

    evaluation = json.loads((out / "evaluation.json").read_text())
    steps = evaluation["about"]["steps"]
    assert 2 <= steps <= 3
    assert clock.now < 4  # of which the evaluation takes none
    assert evaluation["about"]["pairs"] == 2 * steps
    assert evaluation["about"]["config"]["data"]["held_out"] == 0.3
    assert list(evaluation["figures"]) == list(PRESETS)
    for kinds in evaluation["figures"].values():
        assert list(kinds) == ["hr", "bicubic", "start", "sr"]
        assert all(0 <= values[READER] <= 1 for values in kinds.values())
        assert all(5 < kinds[kind]["psnr"] < 60 for kind in ("bicubic", "start", "sr"))
    assert evaluation["figures"]["sharp"]["hr"][READER] > 0.5

    last = rows(out / "metrics.csv")[-1]
    assert int(last["step"]) == steps
    assert float(last["reading"]) > 0 < float(last["mse"])
    assert float(last["seconds"]) < 4

    learnt, averaged = (load_telescope(out / f"{name}.safetensors") for name in ("last", "average"))
    start = load_telescope(Path(evaluation["about"]["config"]["model"]["init"]))
    name = "block1.0.weight"
    a, b, c = (network.state_dict()[name] for network in (start, averaged, learnt))
    assert not torch.equal(a, b)
    assert not torch.equal(b, c)
    lr = np.random.default_rng(0).random((1, 3, 24, 40), np.float32)
    assert predictor(out / "average.safetensors")[1](lr).shape == (1, 3, 48, 80)
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size == (5 * 132, 4 * 44)  # LR, bicubic, start, SR, HR; one word under each preset


def test_a_run_of_ten_minutes_starts_from_weights_of_this_repository(crops: Path, tmp_path: Path) -> None:
    changed = [f"out={tmp_path}", f"data.train={crops}", *SMALL]
    config = read_config(CONFIGS / "ten-minutes.yml", TrainConfig, changed)
    assert config.model.init is not None
    stored, opened = load_telescope(REPOSITORY / config.model.init), open_network(config)
    assert same(dict(stored.named_parameters()), dict(opened.named_parameters()))


@pytest.mark.slow
def test_sigterm_to_all_of_its_processes_saves_what_was_learnt_and_before_that_ends_at_once(
    crops: Path, tmp_path: Path, small_start: list[str]
) -> None:
    filling, learning = tmp_path / "filling", tmp_path / "learning"
    runs = [["train", *rehearsal(out, crops, "run.seconds=5000", *small_start)] for out in (filling, learning)]
    process = started(*runs)
    try:
        said_until(process, "processes make pairs")
        os.killpg(process.pid, signal.SIGTERM)
        assert said_until(process, f"ended with {INTERRUPTED}") == ""
        said_until(process, "steps run without graphs")
        os.killpg(process.pid, signal.SIGTERM)
        assert "words read" in said_until(process, "ended with 0")
        complained = process.communicate(timeout=300)[1]
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in complained  # Python itself may warn of a semaphore that was being made
    assert not list(filling.glob("*.safetensors"))
    load_telescope(learning / "average.safetensors")
    about = json.loads((learning / "evaluation.json").read_text())["about"]
    assert about["seconds"] < 3000


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (["data.scripts={latin: 0.99, greek: 0.01}"], "placed pairs of other scripts"),
        (["data.scripts={greek: 1}", "data.rendered=100000"], "stretched pairs of Latin scripts"),
    ],
)
def test_a_kind_of_pairs_too_rare_for_a_pool_is_refused(
    settings: list[str], name: str, crops: Path, tmp_path: Path
) -> None:
    changed = [f"out={tmp_path}", f"data.train={crops}", *SMALL, "run.seconds=12", *settings]
    config = read_config(CONFIGS / "ten-minutes.yml", TrainConfig, changed)
    with pytest.raises(ConfigError, match=rf"the share of {name} is 0\.00.*make it at least 0\.01, or 0"):
        open_makers(config, open_samples(config))


def test_resuming_is_refused_with_what_to_do_instead(
    crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *rehearsal(tmp_path / "run", crops, "run.seconds=12", flags=("--resume",))]) == 2
    complained = capsys.readouterr().err
    assert complained.count("\n") == 1
    assert "cannot be resumed" in complained
    assert f"model.init={tmp_path / 'run'}/average.safetensors" in complained
    assert not (tmp_path / "run").exists()


def plan(folder: Path, crops: Path, start: list[str], **runs: list[str]) -> list[str]:
    """The arguments of an ablation of two steps."""
    settings = [f"out={folder / 'out'}", f"data.train={crops}", *SMALL, "run.steps=2", *start]
    tree = {"base": str(CONFIGS / "ten-minutes.yml"), "pool": 100, "settings": settings, "runs": runs}
    (folder / "plan.yml").write_text(yaml.safe_dump(tree))
    return ["-c", str(folder / "plan.yml")]


@pytest.mark.slow
def test_an_ablation_writes_its_table_and_repeats_no_run(
    crops: Path, tmp_path: Path, small_start: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {"pixels": ["loss.readers=[]", "data.low=0"], "reading": []}
    assert main(["ablate", *plan(tmp_path, crops, small_start, **runs)]) == 0
    said, complained = capsys.readouterr()
    assert complained == ""
    out = tmp_path / "out"
    table = (out / "table.csv").read_text()
    assert said.endswith(table)
    lines = [line.split(",") for line in table.splitlines()]
    assert [line[0] for line in lines] == ["run", "hr", "bicubic", "pixels", "reading"]
    assert lines[0][1:] == [f"{preset} {figure}" for preset in PRESETS for figure in ("dB", READER)]
    assert all(len(line) == 9 and all(line[2:]) for line in lines[2:])
    networks = [load_telescope(out / f"{name}.safetensors") for name in runs]
    assert not torch.equal(*(network.state_dict()["block1.0.weight"] for network in networks))

    made = {path: path.read_bytes() for path in out.glob("*.safetensors")}
    (out / "pixels.safetensors").unlink()
    assert main(["ablate", *plan(tmp_path, crops, small_start, **runs)]) == 0
    again = capsys.readouterr().out
    assert "pixels: 4 pairs" in again
    assert "reading: 4 pairs" not in again
    assert (out / "reading.safetensors").read_bytes() == made[out / "reading.safetensors"]
    assert again.endswith((out / "table.csv").read_text())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("base: x.yml", "is no plan of base, pool, settings and runs"),
        ("[1", "is no plan of base, pool, settings and runs"),
        ("", "is no plan of base, pool, settings and runs"),
    ],
)
def test_what_is_no_plan_is_named(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.yml").write_text(text)
    assert main(["ablate", "-c", str(tmp_path / "plan.yml")]) == 2
    said = capsys.readouterr().err
    assert "plan.yml" in said
    assert sentence in said


def filled(pool: Pool, kind: Kind, layout: Layout, seed: int, **fixed: Any) -> None:
    """A slab of random pictures of words without text."""
    rng = np.random.default_rng(seed)
    columns = {name: np.zeros((SLAB, *shape), dtype) for name, (shape, dtype) in layout.columns.items()}
    for name in ("lr", "hr"):
        columns[name][:] = rng.integers(0, 256, columns[name].shape, np.uint8)
    columns["sharp"][:] = True
    columns["box"][:] = (0, 0, layout.scale * layout.lr[1], layout.scale * layout.lr[0])
    for name, value in fixed.items():
        columns[name][:] = value
    pool.add(kind, columns)


@pytest.mark.parametrize("size", [64, 100, 128])
def test_a_pool_of_any_size_holds_the_newest_pairs(size: int) -> None:
    layout, whole = Layout((4, 6), 2), -(-size // SLAB)
    pool = Pool({LATIN: layout, STRETCHED: layout}, size=size, device=torch.device("cpu"))
    assert (LATIN in pool, OTHER in pool, len(pool)) == (True, False, 0)
    for number in range(5):
        filled(pool, LATIN, layout, number, codes=number)
        kept = range(max(0, number + 1 - whole), number + 1)
        drawn = pool.draw(LATIN, 400)
        assert set(drawn["codes"][:, 0].tolist()) == set(kept)
    assert pool.held(LATIN) == len(pool) == whole * SLAB
    assert pool.held(STRETCHED) == 0
    assert {name: tuple(column.shape[1:]) for name, column in drawn.items()} == {
        name: shape for name, (shape, _) in layout.columns.items()
    }


def learner(**settings: Any) -> Learner:
    tree = {"out": "unused", "device": "cpu", "model": SIZES, "engine": "torch",
            "data": {"rendered": 1, "rendered_validation": 1, "window_share": 0.6, "window": [12, 20],
                     "scripts": {"latin": 0.7, "greek": 0.3}},
            "loss": {"text_focus": False}, "run": {"batch_size": 4}, **settings}  # fmt: skip
    config = build_config(tree, TrainConfig, origin="test")
    torch.manual_seed(config.seed)
    layouts = {LATIN: Layout((12, 20), 2), OTHER: Layout((12, 20), 2), STRETCHED: Layout((16, 64), 2)}
    pool = Pool(layouts, size=64, device=torch.device("cpu"))
    for number, (kind, layout) in enumerate(layouts.items()):
        filled(pool, kind, layout, number)
    return Learner(config, pool, other_share=0.3)


def weights(of: Learner) -> dict[str, Any]:
    return {name: value.clone() for name, value in of.network.named_parameters()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_placed_batches_come_in_their_share_and_readers_take_turns_within_each_kind() -> None:
    of, seen = learner(), []
    of.turns = 2
    of._step = lambda placed, turn: seen.append((placed, turn))  # type: ignore[method-assign]
    for _ in range(10):
        of.step(0.001)
    assert sum(placed for placed, _ in seen) == 6
    for kind in (True, False):
        turns = [turn for placed, turn in seen if placed == kind]
        assert turns == [number % 2 for number in range(len(turns))]


def test_a_placed_batch_has_its_share_of_other_scripts_behind_the_latin_rows() -> None:
    of = learner(run={"batch_size": 10})
    filled(of.pool, OTHER, Layout((12, 20), 2), 1, codes=7)
    lr, hr, words = of._batch(True)
    assert (lr.shape, hr.shape, words.latin) == ((10, 3, 12, 20), (10, 3, 24, 40), 7)
    assert words.codes[:, 0].tolist() == [0] * 7 + [7] * 3
    assert 0 <= lr.min() < 0.1 < 0.9 < hr.max() <= 1
    stretched, _, words = of._batch(False)
    assert (stretched.shape, words.latin) == ((10, 3, 16, 64), 10)


def test_steps_learn_average_and_report_their_means() -> None:
    of = learner()
    before = weights(of)
    for _ in range(5):
        of.step(0.01)
    found = of.figures()
    assert found["mse"] > 0 < found["grad_norm"]
    assert not same(before, weights(of))
    averaged = dict(of.average.network.named_parameters())
    assert not same(weights(of), averaged)
    assert of.figures() == {"mse": 0, "reading": 0, "grad_norm": 0}
    assert of.capture() == "no CUDA: steps run without graphs"


def test_a_gradient_that_is_no_number_changes_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    of = learner()
    of.step(0.01)
    before, loss = weights(of), of.loss

    def no_number(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: part * np.nan for name, part in loss(*args, **kwargs).items()}

    with monkeypatch.context() as patch:
        patch.setattr(of, "loss", no_number)
        of.step(0.01)
    assert same(before, weights(of))
    of.step(0.01)
    assert not same(before, weights(of))
    assert all(torch.isfinite(value).all() for value in weights(of).values())


def test_gradients_are_clipped_together() -> None:
    """Adam's first moment after one step is 1 - beta of the clipped gradient."""
    of = learner(optimiser={"clip_norm": 1e-3, "betas": [0.5, 0.999]})
    of.step(0.01)
    moments = [state["exp_avg"] for state in of._optimiser.state.values()]
    norm = torch.stack([moment.norm() for moment in moments]).norm().item()
    assert norm == pytest.approx(0.5e-3, rel=1e-3)
    assert of.figures()["grad_norm"] > 1e-3


@pytest.mark.slow
def test_timing_the_parts_leaves_no_trace() -> None:
    of, other = (learner(loss={"text_focus": False, "readers": [READER]}, run={"batch_size": 2}) for _ in range(2))
    before = {name: value.clone() for name, value in of.network.state_dict().items()}
    torch.manual_seed(3)
    found = of.parts()
    assert list(found) == ["drawing", "network", "readers", "optimiser"]
    assert all(seconds > 0 for seconds in found.values())
    assert same(before, of.network.state_dict())
    for one in (of, other):
        torch.manual_seed(4)
        for _ in range(2):
            one.step(0.01)
    assert same(weights(of), weights(other))
