"""The settings of a run: frozen dataclasses, each default with its reason or source.

    config = read_config(Path("training/configs/tiny.yml"), TrainConfig, ["run.steps=10"])   # config_file.py

"sr_telescope.yml" below is PaddleOCR's configuration of Text Telescope; "the paper" is Chen, Li, Xue,
Scene Text Telescope, CVPR 2021. No framework is imported here: every engine reads the same configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import cos, pi
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict

from training.data.degrade_config import DegradeConfig
from training.data.synth import SynthConfig
from training.data.words import SCRIPTS
from training.errors import ConfigError
from training.text_focus import LossConfig


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value  # so `-o data.train=DIR` works


Paths: TypeAlias = Annotated[tuple[Path, ...], BeforeValidator(_as_list)]


@dataclass(frozen=True)
class ModelConfig:
    """Arguments of `TBSRN`, and its initial weights."""

    height: int = 16  # of LR, pixels; TextZoom's size
    width: int = 64
    scale: int = 2
    blocks: int = 5  # the paper
    hidden: int = 32  # half the feature channels; sr_telescope.yml
    # The paper has it. Without it training on a CPU is four times as fast; it can be switched on in a later run.
    attention: bool = True
    stn: bool = True  # straightens LR in training: LR and HR of TextZoom are slightly misaligned
    dropout: float = 0.1
    # PaddleOCR trains with "downscale_in_infer", which multiplies by 1 - dropout when it evaluates.
    dropout_mode: Literal["upscale_in_train", "downscale_in_infer"] = "upscale_in_train"
    # "synchronised" takes statistics over all cards (GPU only), "frozen" keeps those of `init`.
    batch_norm: Literal["local", "synchronised", "frozen"] = "local"
    init: Path | None = None  # one of our checkpoints to start from; None: random weights

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"model.dropout is {self.dropout}; expected 0 to below 1")

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of `TBSRN`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("batch_norm", "init")}


@dataclass(frozen=True)
class DataConfig:
    """The words to train on, stored and rendered ones mixed; one epoch shows each once."""

    train: Paths = ()  # LMDB roots in the layout of TextZoom or `make-data`; crops without LR are degraded
    rendered: int = 0  # words drawn per epoch, new ones each time
    validation: Paths = ()
    rendered_validation: int = 0  # always the same words
    validation_limit: int | None = None  # samples; None: all of them
    shuffle: bool = True  # as FudanOCR; PaddleOCR has `shuffle: False`, so its epochs have equal batches
    workers: int = 2  # processes that prepare batches; 0: the training process prepares them
    held_out: float = 0.0  # share of words of crop tars and folders, kept for evaluation by `run.readers`
    low: int = 0  # crops per epoch that are too low to be an HR: only their label is used
    scripts: Mapping[str, float] = field(default_factory=lambda: {"latin": 1.0})  # shares of rendered words
    negative_share: float = 0.0  # share of crops inverted: data has less light text on dark than screens
    # Share of training batches whose words lie on a canvas at any scale, not stretched to it; TextZoom: 0.
    window_share: float = 0.0
    pool: int = 65536  # pairs of each kind on the device, with run.seconds; 46 KB a pair
    window: tuple[int, int] = (32, 96)  # height and width of that LR canvas; three words of four fit at 64 px
    # Heights of the text on HR in pixels. The service scales crops by their blur, mostly to 20 to 40 px.
    window_heights: tuple[int, int] = (24, 96)
    degrade: DegradeConfig = field(default_factory=DegradeConfig)  # or the name of a preset
    synth: SynthConfig = field(default_factory=SynthConfig)
    fonts: Path | None = None  # folder; None: the installed fonts
    words: Path | None = None  # file, one word a line; None: made-up words
    grounds: Path | None = None  # folder of photographs behind rendered words; None: textures

    def __post_init__(self) -> None:
        if not self.train and not self.rendered:
            raise ConfigError("data.train is empty and data.rendered is 0: there is nothing to train on")
        if not self.validation and not self.rendered_validation and not self.held_out:
            raise ConfigError(
                "data.validation is empty, data.rendered_validation and data.held_out are 0: nothing is evaluated"
            )
        _at_least(self, 0, "rendered", "rendered_validation", "workers", "low")
        for name in ("window_share", "negative_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.{name} is {getattr(self, name)}; expected 0 to 1")
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"data.held_out is {self.held_out}; expected 0 to below 1")
        unknown = sorted(self.scripts.keys() - set(SCRIPTS))
        if unknown or not self.scripts or min(self.scripts.values()) < 0 or not sum(self.scripts.values()):
            raise ConfigError(f"data.scripts is {dict(self.scripts)}; expected shares of {', '.join(SCRIPTS)}")
        if not 4 <= self.window_heights[0] <= self.window_heights[1]:
            raise ConfigError(f"data.window_heights is {self.window_heights}; expected two, from 4 on, rising")
        if min(self.window) < 8:
            raise ConfigError(f"data.window is {self.window}; expected a height and a width from 8 on")
        _at_least(self, 1, "validation_limit", "pool")


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam."""

    learning_rate: float = 1e-4  # sr_telescope.yml
    betas: tuple[float, float] = (0.5, 0.999)  # sr_telescope.yml
    schedule: Literal["constant", "cosine"] = "constant"  # sr_telescope.yml
    warmup_steps: int = 0  # linear, from 0
    final_share: float = 0.01  # of learning_rate, at the last step of the cosine
    # "global" clips the norm of all gradients together, as FudanOCR; "per_tensor" clips each, as PaddleOCR.
    clip: Literal["global", "per_tensor", "none"] = "global"
    clip_norm: float = 0.25  # both code bases

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or self.clip_norm <= 0:
            raise ConfigError("optimiser.learning_rate and optimiser.clip_norm must be above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optimiser.betas {self.betas} must lie in [0, 1)")
        _at_least(self, 0, "warmup_steps")


@dataclass(frozen=True)
class RunConfig:
    """Length, intervals and precision of a run."""

    epochs: int = 100  # sr_telescope.yml
    steps: int | None = None  # length of the run in steps, instead of `epochs`
    seconds: float | None = None  # length of the run in time, start included; torch only (engines.torch_timed)
    batch_size: int = 16  # per card; sr_telescope.yml
    evaluate_every: int = 1000  # steps; sr_telescope.yml
    evaluate_seconds: float | None = None  # evaluate also after this time since the last evaluation
    save_every: int = 1000  # steps; a killed run loses at most these
    log_every: int = 10  # steps; a row of metrics.csv is their mean
    evaluation_batch_size: int = 16  # PSNR_Avg depends on it; PaddleOCR's is 16
    sheet_rows: int = 8  # crops on the LR | bicubic | SR | HR sheet of each evaluation
    # Recognisers (training.ocr) that read SR at each evaluation. They then choose the best checkpoint, instead of
    # PSNR and SSIM.
    readers: tuple[str, ...] = ()
    ema_decay: float = 0.0  # of averaged weights, which are evaluated and saved as best; 0: no averaging
    amp: Literal["none", "bfloat16", "float16"] = "none"  # Paddle: GPU only; published runs are float32
    compile: bool = False  # torch only: torch.compile takes minutes, which a long run on a GPU earns back

    def __post_init__(self) -> None:
        _at_least(self, 1, "epochs", "steps", "seconds", "evaluate_seconds", "batch_size", "evaluation_batch_size")
        _at_least(self, 1, "evaluate_every", "save_every", "log_every")
        _at_least(self, 0, "sheet_rows")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"run.ema_decay is {self.ema_decay}; expected 0 to below 1")


@dataclass(frozen=True)
class CommonConfig:
    """Settings that `train` and `pretrain-recogniser` share."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # an unknown key is an error, here and in every section

    out: Path  # folder of the run: checkpoints, metrics.csv, sheets, tensorboard
    data: DataConfig
    engine: str = "paddle"  # or "torch"; see training.engines
    device: Literal["auto", "cpu", "gpu"] = "auto"  # auto: a GPU if the framework sees one
    seed: int = 1024  # sr_telescope.yml
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        _at_least(self, 0, "seed")


@dataclass(frozen=True)
class TrainConfig(CommonConfig):
    """`python -m training train`."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    recogniser: Path | None = None  # weights for loss.text_focus, of `pretrain-recogniser` or published

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss.text_focus and self.recogniser is None:
            raise ConfigError(
                "loss.text_focus needs recogniser, the path of pretrained weights "
                "(`pretrain-recogniser` makes some); or set loss.text_focus to false"
            )
        if self.data.low and not self.loss.readers:
            raise ConfigError("data.low teaches by the labels of crops, so it needs loss.readers")


@dataclass(frozen=True)
class ReaderConfig:
    """The recogniser to pretrain."""

    size: Literal["published", "small"] = "published"  # 62 M parameters; 2.1 M, which a CPU can train
    dropout: float = 0.1  # the published network's
    height: int = 32  # of its input in pixels: the size of HR
    width: int = 128


@dataclass(frozen=True)
class PretrainConfig(CommonConfig):
    """`python -m training pretrain-recogniser`."""

    reader: ReaderConfig = field(default_factory=ReaderConfig)


def learning_rate_at(config: OptimiserConfig, *, step: int, steps: int) -> float:
    """The learning rate of a step, 0 <= step < steps."""
    rate = config.learning_rate
    if step < config.warmup_steps:
        return rate * (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return rate
    through = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return rate * (config.final_share + (1 - config.final_share) * 0.5 * (1 + cos(pi * through)))


def _at_least(config: object, least: int, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise ConfigError(f"{name} is {value}; expected {least} or more")
