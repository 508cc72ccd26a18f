"""Run configurations: what they hold, and the one sentence each mistake gets."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import REPOSITORY
from training.__main__ import main
from training.config import OptimiserConfig, PretrainConfig, TrainConfig, learning_rate_at
from training.config_file import build_config, changed_settings, config_tree, read_config
from training.data.degrade_config import DegradeConfig, preset
from training.errors import ConfigError

CONFIGS = REPOSITORY / "training" / "configs"
TINY = CONFIGS / "tiny.yml"


def test_telescope_yml_holds_the_published_settings() -> None:
    config = read_config(CONFIGS / "telescope.yml", TrainConfig)
    optimiser, run = config.optimiser, config.run
    assert (optimiser.learning_rate, optimiser.betas, optimiser.schedule) == (1e-4, (0.5, 0.999), "constant")
    assert (run.batch_size, run.epochs, run.evaluate_every, config.seed) == (16, 100, 1000, 1024)
    assert (config.loss.attention_weight, config.loss.recognition_weight) == (10.0, 0.0005)
    assert (config.model.height, config.model.width, config.model.blocks, config.model.hidden) == (16, 64, 5, 32)
    assert (optimiser.clip, optimiser.clip_norm, config.data.shuffle) == ("global", 0.25, True)


def test_the_switches_of_both_code_bases_are_settings() -> None:
    paddleocr = ["optimiser.clip=per_tensor", "data.shuffle=false", "model.dropout_mode=downscale_in_infer"]
    config = read_config(CONFIGS / "telescope.yml", TrainConfig, [*paddleocr, "loss.recogniser_dropout=true"])
    assert config.loss.recogniser_dropout
    assert config.model.architecture["dropout_mode"] == "downscale_in_infer"
    config = read_config(CONFIGS / "telescope.yml", TrainConfig, ["loss.scale=100", "loss.recognition_of=hr"])
    assert (config.loss.scale, config.loss.recognition_of) == (100.0, "hr")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yml")), ids=lambda path: path.name)
def test_every_configuration_in_the_repository_is_valid(path: Path) -> None:
    if "runs" in yaml.safe_load(path.read_text(encoding="utf-8")):
        pytest.skip("a plan of runs: see the next test")
    kind = PretrainConfig if path.name.startswith("recogniser") else TrainConfig
    config = read_config(path, kind)
    assert build_config(config_tree(config), kind, origin="itself") == config


def test_every_run_of_the_ablation_is_valid_and_unlike_the_others() -> None:
    pytest.importorskip("torch")
    from training.ablate import Plan

    plan = Plan.read(CONFIGS / "ablation.yml")
    trees = [
        config_tree(read_config(plan.base, TrainConfig, [*plan.settings, *run])) for run in plan.runs.values()
    ]
    assert not any(a == b for number, a in enumerate(trees) for b in trees[:number])


def test_an_override_is_laid_over_the_file() -> None:
    config = read_config(TINY, TrainConfig, ["run.steps=null", "run.epochs=3", "optimiser.learning_rate=1e-4"])
    assert (config.run.steps, config.run.epochs, config.optimiser.learning_rate) == (None, 3, 1e-4)


def test_one_data_root_needs_no_brackets() -> None:
    assert read_config(TINY, TrainConfig, ["data.train=a"]).data.train == (Path("a"),)
    assert read_config(TINY, TrainConfig, ["data.train=[a, b]"]).data.train == (Path("a"), Path("b"))


def test_a_degradation_may_be_named_and_then_changed() -> None:
    named = read_config(TINY, TrainConfig, ["data.degrade=hard"]).data.degrade
    assert named == preset("hard") != DegradeConfig()
    changed = read_config(TINY, TrainConfig, ["data.degrade=hard", "data.degrade.shift_px=0"]).data.degrade
    assert (changed.shift_px, changed.sigma_px) == (0.0, named.sigma_px)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("run.epoch=1", "unknown setting run.epoch; did you mean epochs?"),
        ("data.degrade.sgima_px=1", "unknown setting data.degrade.sgima_px; did you mean sigma_px?"),
        ("nonsense=1", "unknown setting nonsense; there are: out, data"),
        ("run.steps=many", "run.steps is 'many'"),
        ("optimiser.clip=sometimes", "optimiser.clip is 'sometimes'"),
        ("model=3", "model is 3; expected settings below it"),
        ("out=null", "out is None"),
        ("data.degrade.sigma_px=[3, 1]", "sigma_px = (3.0, 1.0) must be (low, high)"),
        ("data.degrade=terrible", "no degradation preset 'terrible'"),
        ("data.rendered=0", "there is nothing to train on"),
        ("loss.text_focus=true", "loss.text_focus needs recogniser"),
        ("run.ema_decay=1", "run.ema_decay is 1.0"),
        ("run.batch_size=0", "batch_size is 0; expected 1 or more"),
        ("run.steps=0", "steps is 0; expected 1 or more"),
        ("data.validation_limit=0", "validation_limit is 0; expected 1 or more"),
        ("seed=-1", "seed is -1; expected 0 or more"),
        ("model.dropout=2", "model.dropout is 2.0; expected 0 to below 1"),
        ("data.degrade.shift_px=-1", "shift_px = -1.0 must not be negative"),
        ("data.degrade.noise_std=[-1, 2]", "noise_std = (-1.0, 2.0) must not be negative"),
        ("data.synth.height_px=[0, 32]", "height_px = (0, 32) must be above 0"),
        ("run.steps", "must be KEY=VALUE"),
        ("out.deeper=1", "out is 'runs/tiny' and holds no settings"),
        ("engine=[1", "has no YAML value"),
        ("loss.reader=rapidocr-v6", "unknown setting loss.reader; did you mean readers?"),
        ("loss.readers=[rapidocr-v6]", "loss.readers needs the torch engine"),
        ("loss.reader_weight=-1", "reader_weight is -1.0; expected 0 or more"),
        ("loss.reader_quantile=75", "reader_quantile is 75.0; expected 0 to 1"),
        ("data.scripts={klingon: 1}", "data.scripts is {'klingon': 1.0}; expected shares of latin, accents"),
        ("data.scripts={latin: 0}", "data.scripts is {'latin': 0.0}; expected shares"),
        ("data.window=[4, 96]", "data.window is (4, 96); expected a height and a width from 8 on"),
        ("data.window_heights=[40, 30]", "data.window_heights is (40, 30); expected two, from 4 on, rising"),
        ("data.held_out=1", "data.held_out is 1.0; expected 0 to below 1"),
        ("data.held_out=0.1", "data.held_out keeps words to be read, so it needs run.readers"),
        ("data.low=1", "data.low teaches by the labels of crops, so it needs loss.readers"),
        ("run.seconds=0", "seconds is 0.0; expected 1 or more"),
        ("run.seconds=60", "run.seconds needs engine=torch, and engine is paddle"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_it(
    override: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboardX")
    assert main(["train", "-c", str(TINY), "-o", override]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "short.yml").write_text("seed: 1\n")
    with pytest.raises(ConfigError, match=r"short\.yml: out is missing"):
        read_config(tmp_path / "short.yml", TrainConfig)


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yml"):
        read_config(tmp_path / "nowhere.yml", TrainConfig)
    for text in ("a: [1", "just words", ""):
        (tmp_path / "bad.yml").write_text(text)
        with pytest.raises(ConfigError, match=r"bad\.yml"):
            read_config(tmp_path / "bad.yml", TrainConfig)


def test_changed_settings_are_listed_by_their_path() -> None:
    before = config_tree(read_config(TINY, TrainConfig))
    after = config_tree(read_config(TINY, TrainConfig, ["run.steps=7", "seed=3"]))
    assert changed_settings(before, after) == ["run.steps 50 -> 7", "seed 1024 -> 3"]
    assert changed_settings(before, before) == []


def test_the_rate_warms_up_and_then_falls_to_its_share() -> None:
    config = OptimiserConfig(learning_rate=1.0, schedule="cosine", warmup_steps=9, final_share=0.1)
    rates = [learning_rate_at(config, step=step, steps=100) for step in range(100)]
    assert rates[:2] == pytest.approx([0.1, 0.2])
    assert rates[9] == 1.0
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert rates[9:] == sorted(rates[9:], reverse=True)


@given(st.integers(0, 10**6))
def test_a_constant_rate_is_constant(step: int) -> None:
    assert learning_rate_at(OptimiserConfig(), step=step, steps=10**6 + 1) == 1e-4
