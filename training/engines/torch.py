"""The engine on PyTorch: one process on CPU or GPU, or several under `torchrun`.

    batch -> network -> loss -> gradients, averaged over processes -> clipped -> Adam -> averaged weights

    python -m training train -c training/configs/tiny.yml --engine torch
    torchrun --nproc_per_node 4 -m training train -c training/configs/telescope.yml --engine torch

Runs on hardware for which Paddle has no build, and several times faster than Paddle on CPUs with bfloat16. Its
weights and saved state have the Paddle engine's format. A run repeats exactly on a CPU; on a GPU, sums are added
in varying order and so round differently.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.architecture import RecogniserConfig
from training.config import CommonConfig, PretrainConfig, TrainConfig
from training.data.samples import LATIN, Batch, Nchw
from training.engines import Arrays, group, start_weights
from training.engines.base import BaseEngine
from training.engines.torch_net import TBSRN
from training.engines.torch_parts import (
    Average,
    clip_gradients,
    freeze_batch_norm,
    join,
    load_optimiser,
    mean_over_ranks,
    optimiser_arrays,
    rank_and_world,
)
from training.engines.torch_reader import Recogniser, TextFocusedLoss
from training.engines.torch_reading import ReadingLoss, Words
from training.engines.torch_weights import (
    as_array,
    load_recogniser,
    load_telescope,
    places,
    save_recogniser,
    save_telescope,
    set_weights,
    to_arrays,
)
from training.errors import ConfigError, RunError
from training.text_focus import encode_labels

Parts = Mapping[str, Tensor]  # scalars; "loss" is minimised
Loss = Callable[[nn.Module, Batch, int], Parts]  # network, perhaps compiled; batch; step


class TorchEngine(BaseEngine):
    """An `Engine` around a network, on its device, and its loss."""

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        *,
        config: CommonConfig,
        architecture: dict[str, Any],
        batch_norm_frozen: bool = False,
        remembered: Mapping[str, Tensor] | None = None,
    ) -> None:
        """remembered: tensors that the loss keeps from step to step, by name; `load_state` overwrites them."""
        self.rank, self.world = rank_and_world()
        self.architecture = architecture
        self.network, self.config = network, config
        self.device = next(network.parameters()).device
        self._loss = loss
        self._batch_norm_frozen = batch_norm_frozen
        self._remembered = dict(remembered or {})
        optimiser = config.optimiser
        self._optimiser = torch.optim.Adam(
            network.parameters(), optimiser.learning_rate, optimiser.betas, fused=True
        )
        decay = config.run.ema_decay
        self.average = Average(copy.deepcopy(network), decay) if decay else None
        self._learning: Any = torch.compile(network) if config.run.compile else network
        if self.world > 1:  # starts from the weights of rank 0, and averages gradients
            self._learning = DistributedDataParallel(self._learning)

    def gradients(self, batch: Batch) -> Arrays:
        """Gradients of one batch by our parameter names, averaged over ranks; changes no weight. For tests."""
        self._backward(batch, 0)
        used = {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}
        known = places(self.network).items()
        found = {ours: as_array(used[place.name], place) for ours, place in known if place.name in used}
        self._clear_gradients()
        return found

    def state(self) -> Arrays:
        state = {f"network/{name}": value for name, value in to_arrays(self.network).items()}
        moments = optimiser_arrays(self._optimiser, self.network, self.config.optimiser)
        state |= {f"optimiser/{name}": value for name, value in moments.items()}
        if self.average is not None:
            self.average.copy_statistics(self.network)
            state |= {f"average/{name}": value for name, value in to_arrays(self.average.network).items()}
        return state | {f"loss/{name}": value.cpu().numpy() for name, value in self._remembered.items()}

    def load_state(self, state: Arrays, *, origin: str) -> None:
        set_weights(self.network, group(state, "network"), origin=origin)
        load_optimiser(self._optimiser, self.network, group(state, "optimiser"), self.config.optimiser)
        if self.average is not None:  # averaging may be switched on when a run is resumed
            weights = group(state, "average") or group(state, "network")
            set_weights(self.average.network, weights, origin=origin)
        for name, value in group(state, "loss").items():
            if name in self._remembered and self._remembered[name].shape == value.shape:  # else other readers
                self._remembered[name].copy_(torch.from_numpy(value))

    @property
    def evaluated(self) -> nn.Module:
        """The network to evaluate and save, in evaluation mode: the averaged one if there is one."""
        if self.average is None:
            return self.network.eval()
        self.average.copy_statistics(self.network)
        return self.average.network.eval()

    def _seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def _backward(self, batch: Batch, step: int) -> Parts:
        self.network.train()
        if self._batch_norm_frozen:
            freeze_batch_norm(self.network)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.run.amp != "none"):
            parts = self._loss(self._learning, batch, step)
        parts["loss"].backward()
        return parts

    def _clip(self, parts: Parts) -> dict[str, float]:
        scalars = {**parts, "grad_norm": clip_gradients(self.network, self.config.optimiser)}
        numbers = torch.stack([value.detach() for value in scalars.values()]).tolist()  # one wait for the device
        return dict(zip(scalars, numbers, strict=True))

    def _update(self, learning_rate: float) -> None:
        for settings in self._optimiser.param_groups:
            settings["lr"] = learning_rate
        self._optimiser.step()

    def _clear_gradients(self) -> None:
        self._optimiser.zero_grad()

    def _mean_over_ranks(self, values: Mapping[str, float]) -> dict[str, float]:
        return mean_over_ranks(values, self.device)


class TorchTelescope(TorchEngine):
    """TBSRN with the text-focused loss."""

    @torch.no_grad()
    def predict(self, lr: Nchw) -> Nchw:
        sr: Nchw = self.evaluated(torch.from_numpy(lr).to(self.device)).cpu().numpy()
        return sr

    def save_weights(self, path: Path, *, source: Mapping[str, Any]) -> None:
        network = self.evaluated
        assert isinstance(network, TBSRN)
        save_telescope(path, network, source=source)


class TorchRecogniser(TorchEngine):
    """The recogniser with the cross-entropy of each character."""

    def read(self, images: Nchw) -> list[str]:
        network = self.evaluated
        assert isinstance(network, Recogniser)
        return network.read(torch.from_numpy(images).to(self.device))

    def save_weights(self, path: Path, *, source: Mapping[str, Any]) -> None:
        network = self.evaluated
        assert isinstance(network, Recogniser)
        save_recogniser(path, network, source=source)


def telescope(config: TrainConfig) -> TorchTelescope:
    """TBSRN, fresh or from `model.init`, ready to train. Raises ConfigError, CheckpointError."""
    device = set_up(config)
    network: nn.Module = placed_on(open_network(config), device)
    if config.model.batch_norm == "synchronised":
        if device.type == "cpu":
            raise ConfigError("model.batch_norm synchronised needs GPUs; use local or frozen")
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    text_focused = telescope_loss(config, device)

    def loss(learning: nn.Module, batch: Batch, step: int) -> Parts:
        lr, hr = _images(batch.lr, device), _images(batch.hr, device)
        words = Words.of(batch, device) if text_focused.reading is not None else None
        sr = learning(lr).float()
        parts: Parts = text_focused(sr, hr, batch.labels, lr=lr, words=words, turn=step)
        return parts

    return TorchTelescope(
        network,
        loss,
        config=config,
        architecture=config.model.architecture,
        batch_norm_frozen=config.model.batch_norm == "frozen",
        remembered={"limits": text_focused.reading.limits} if text_focused.reading is not None else {},
    )


def telescope_loss(config: TrainConfig, device: torch.device) -> TextFocusedLoss:
    """The configured loss with its recognisers, on a device."""
    loss = config.loss
    dtype = torch.float16 if device.type == "cuda" and config.run.amp != "none" else torch.float32
    reader = load_recogniser(config.recogniser) if loss.text_focus and config.recogniser else None
    every_script = any(script not in LATIN for script, share in config.data.scripts.items() if share)
    reading = ReadingLoss(loss, every_script=every_script, dtype=dtype) if loss.readers else None
    return placed_on(TextFocusedLoss(loss, reader, reading), device)  # type: ignore[no-any-return]


def recogniser(config: PretrainConfig) -> TorchRecogniser:
    """A fresh recogniser, ready to train on HR."""
    device = set_up(config)
    sizes = RecogniserConfig.small() if config.reader.size == "small" else RecogniserConfig()
    network = placed_on(Recogniser(dataclasses.replace(sizes, dropout=config.reader.dropout)), device)

    def loss(learning: nn.Module, batch: Batch, _: int) -> Parts:
        words = encode_labels(batch.labels)
        logits, _ = learning(_images(batch.hr, device), words)
        return {"loss": F.cross_entropy(logits, torch.from_numpy(words.targets).to(device))}

    return TorchRecogniser(network, loss, config=config, architecture={"recogniser": config.reader.size})


def predictor(path: Path) -> tuple[dict[str, Any], Callable[[Nchw], Nchw]]:
    """A checkpoint's architecture, and a function LR -> SR, on a GPU if there is one. Raises CheckpointError."""
    network = load_telescope(path)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    placed_on(network, device)

    @torch.no_grad()
    def run(lr: Nchw) -> Nchw:
        sr: Nchw = network(_images(lr, device)).cpu().numpy()
        return sr

    return network.architecture, run


def _images(images: Nchw, device: torch.device) -> Tensor:
    return torch.from_numpy(images).to(device, memory_format=torch.channels_last)


def placed_on(network: nn.Module, device: torch.device) -> Any:  # noqa: ANN401 - the module it was given
    """Move to a device, channels last in memory: the fast layout of tensor cores and of oneDNN's bfloat16."""
    moved: Any = network.to(device)
    return moved.to(memory_format=torch.channels_last)


def open_network(config: TrainConfig) -> TBSRN:
    """The configured TBSRN, fresh or from `model.init`."""
    network = TBSRN(**config.model.architecture)
    if config.model.init is not None:
        start = to_arrays(load_telescope(config.model.init))
        weights = start_weights(config, start, fresh=to_arrays(network))
        set_weights(network, weights, origin=f"model.init {config.model.init}")
    return network


def set_up(config: CommonConfig) -> torch.device:
    """Choose the run's device and seed PyTorch. Raises ConfigError, RunError."""
    if config.run.amp == "float16":
        raise ConfigError("run.amp is float16, which the torch engine does not support; use bfloat16")
    try:
        device = join(config.device)
    except (ValueError, RuntimeError) as exc:
        raise RunError(f"device {config.device} cannot be used: {exc}") from exc
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.manual_seed(config.seed)  # the same on every rank: all start from the same weights
    return device
