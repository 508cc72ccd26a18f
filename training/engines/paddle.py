"""The engine on PaddlePaddle: one process on CPU or GPU, or several under `paddle.distributed.launch`.

batch -> network -> loss -> gradients, averaged over processes
      -> clipped -> Adam -> averaged weights
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from training.architecture import RecogniserConfig
from training.checkpoint import load_checkpoint, save_checkpoint, set_weights
from training.config import CommonConfig, PretrainConfig, TrainConfig
from training.data.samples import Batch, Nchw
from training.engines import Arrays, group, start_weights
from training.engines.base import BaseEngine
from training.engines.paddle_parts import (
    Average,
    adam,
    average_gradients,
    check_amp,
    freeze_batch_norm,
    gradient_norm,
    join,
    load_optimiser,
    mean_over_ranks,
    optimiser_arrays,
    place,
    same_on_all_ranks,
)
from training.errors import ConfigError, RunError
from training.losses import TextFocusedLoss
from training.recogniser import Recogniser
from training.recogniser_file import load_recogniser, save_recogniser
from training.tbsrn import TBSRN
from training.text_focus import encode_labels

Parts = Mapping[str, Tensor]  # scalars; "loss" is minimised
Loss = Callable[[Batch], Parts]


class PaddleEngine(BaseEngine):
    """An `Engine` around a network and its loss. Process group and device must have been set up."""

    def __init__(
        self,
        network: nn.Layer,
        loss: Loss,
        *,
        config: CommonConfig,
        architecture: dict[str, Any],
        batch_norm_frozen: bool = False,
    ) -> None:
        self.rank, self.world = paddle.distributed.get_rank(), paddle.distributed.get_world_size()
        self.architecture = architecture
        self.network, self.config = network, config
        self._loss = loss
        self._batch_norm_frozen = batch_norm_frozen
        same_on_all_ranks(network)
        self._optimiser = adam(network, config.optimiser)
        decay = config.run.ema_decay
        self.average = Average(copy.deepcopy(network), decay) if decay else None
        amp = config.run.amp
        self._scaler = paddle.amp.GradScaler(init_loss_scaling=2.0**15) if amp == "float16" else None
        if self._scaler is not None:  # after an overflow of float16 gradients, it only lowers its factor
            self.unchecked = frozenset({"grad_norm"})

    def gradients(self, batch: Batch) -> Arrays:
        """Gradients of one batch by parameter name, averaged over ranks; changes nothing. For tests."""
        self._backward(batch, 0)
        found = {
            name: parameter.grad.numpy()
            for name, parameter in self.network.named_parameters()
            if parameter.grad is not None
        }
        self._clear_gradients()
        return found

    def state(self) -> Arrays:
        state = {f"network/{name}": value.numpy() for name, value in self.network.state_dict().items()}
        state |= {f"optimiser/{n}": v for n, v in optimiser_arrays(self._optimiser, self.network).items()}
        if self.average is not None:
            state |= {f"average/{n}": v.numpy() for n, v in self.average.network.state_dict().items()}
        if self._scaler is not None:
            state |= {f"scaler/{n}": np.asarray(v) for n, v in self._scaler.state_dict().items()}
        return state

    def load_state(self, state: Arrays, *, origin: str) -> None:
        set_weights(self.network, group(state, "network"), origin=origin)
        load_optimiser(self._optimiser, self.network, group(state, "optimiser"))
        if self.average is not None:  # averaging may be switched on when a run is resumed
            weights = group(state, "average") or group(state, "network")
            set_weights(self.average.network, weights, origin=origin)
        if self._scaler is not None and (stored := group(state, "scaler")):
            scalars: Any = {name: value.item() if value.ndim == 0 else value for name, value in stored.items()}
            self._scaler.load_state_dict(scalars)

    @property
    def evaluated(self) -> nn.Layer:
        """The network to evaluate and save, in evaluation mode: the averaged one if there is one."""
        network = self.network if self.average is None else self.average.network
        network.eval()
        return network

    def _seed(self, seed: int) -> None:
        paddle.seed(seed)

    def _backward(self, batch: Batch, step: int) -> Parts:
        self.network.train()
        if self._batch_norm_frozen:
            freeze_batch_norm(self.network)
        amp = self.config.run.amp
        with paddle.amp.auto_cast(enable=amp != "none", dtype=amp if amp != "none" else "float16"):
            parts = self._loss(batch)
        total = parts["loss"] if self._scaler is None else self._scaler.scale(parts["loss"])
        total.backward()
        average_gradients(self.network)
        return parts

    def _clip(self, parts: Parts) -> dict[str, float]:
        # Only measures: Paddle's optimiser clips the gradients itself.
        if self._scaler is not None:
            self._scaler.unscale_(self._optimiser)
        return {**{name: float(value) for name, value in parts.items()}, "grad_norm": gradient_norm(self.network)}

    def _update(self, learning_rate: float) -> None:
        self._optimiser.set_lr(learning_rate)
        if self._scaler is None:
            self._optimiser.step()
        else:
            self._scaler.step(self._optimiser)  # skips the update after a float16 overflow
            self._scaler.update()

    def _clear_gradients(self) -> None:
        self._optimiser.clear_grad(set_to_zero=False)

    def _mean_over_ranks(self, values: Mapping[str, float]) -> dict[str, float]:
        return mean_over_ranks(values)


class PaddleTelescope(PaddleEngine):
    """TBSRN with the text-focused loss."""

    @paddle.no_grad()
    def predict(self, lr: Nchw) -> Nchw:
        sr: Nchw = self.evaluated(paddle.to_tensor(lr)).numpy()
        return sr

    def save_weights(self, path: Path, *, source: Mapping[str, Any]) -> None:
        network = self.evaluated
        assert isinstance(network, TBSRN)
        save_checkpoint(path, network, source=source)


class PaddleRecogniser(PaddleEngine):
    """The recogniser with the cross-entropy of each character."""

    @paddle.no_grad()
    def read(self, images: Nchw) -> list[str]:
        words: list[str] = self.evaluated.read(paddle.to_tensor(images))
        return words

    def save_weights(self, path: Path, *, source: Mapping[str, Any]) -> None:
        network = self.evaluated
        assert isinstance(network, Recogniser)
        save_recogniser(path, network, source=source)


def telescope(config: TrainConfig) -> PaddleTelescope:
    """TBSRN, fresh or from `model.init`, ready to train. Raises ConfigError, CheckpointError."""
    _set_up(config)
    network: nn.Layer = _telescope_network(config)
    if config.model.batch_norm == "synchronised":
        if place() == "cpu":
            raise ConfigError("model.batch_norm synchronised needs GPUs in Paddle; use local or frozen")
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    reader = load_recogniser(config.recogniser) if config.loss.text_focus and config.recogniser else None
    text_focused = TextFocusedLoss(config.loss, reader)

    def loss(batch: Batch) -> Parts:
        sr = network(paddle.to_tensor(batch.lr)).astype("float32")
        parts = text_focused(sr, paddle.to_tensor(batch.hr), batch.labels)
        named = {"loss": parts.total, "mse": parts.mse}
        if parts.attention is not None and parts.recognition is not None:
            named |= {"attention": parts.attention, "recognition": parts.recognition}
        return named

    frozen = config.model.batch_norm == "frozen"
    architecture = config.model.architecture
    return PaddleTelescope(network, loss, config=config, architecture=architecture, batch_norm_frozen=frozen)


def recogniser(config: PretrainConfig) -> PaddleRecogniser:
    """A fresh recogniser, ready to train on HR."""
    _set_up(config)
    sizes = RecogniserConfig.small() if config.reader.size == "small" else RecogniserConfig()
    network = Recogniser(RecogniserConfig(**(vars(sizes) | {"dropout": config.reader.dropout})))

    def loss(batch: Batch) -> Parts:
        words = encode_labels(batch.labels)
        logits = network(paddle.to_tensor(batch.hr), words).logits.astype("float32")
        return {"loss": F.cross_entropy(logits, paddle.to_tensor(words.targets))}

    return PaddleRecogniser(network, loss, config=config, architecture={"recogniser": config.reader.size})


def _telescope_network(config: TrainConfig) -> TBSRN:
    if config.model.init is None:
        return TBSRN(**config.model.architecture)
    start = load_checkpoint(config.model.init)
    network = TBSRN(**config.model.architecture)
    held, fresh = ({k: v.numpy() for k, v in net.state_dict().items()} for net in (start, network))
    weights = start_weights(config, held, fresh=fresh)
    set_weights(network, weights, origin=f"model.init {config.model.init}")
    return network


def _set_up(config: CommonConfig) -> None:
    try:
        join(config.device)
    except (ValueError, RuntimeError, NotImplementedError) as exc:
        raise RunError(f"device {config.device} cannot be used: {exc}") from exc
    check_amp(config.run.amp)
    # Paddle warns about every batch normalisation in every run; the warning is harmless.
    warnings.filterwarnings("ignore", "When training, we now always track global mean", UserWarning)
    paddle.seed(config.seed)  # the same on every rank: all start from the same weights
