"""Pieces of the Paddle engine: devices and processes, Adam and its state, averaged weights."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import paddle
from paddle import nn

from training.config import OptimiserConfig
from training.engines import Arrays
from training.errors import ConfigError, KeyMismatch

MOMENTS = ("moment1_0", "moment2_0", "beta1_pow_acc_0", "beta2_pow_acc_0")  # names in the state of Paddle's Adam


class Average:
    """Exponential moving average of the weights; batch statistics are copied, not averaged.

    The decay grows from 0.1 to its value, as (1 + step) / (10 + step), so that the start is soon forgotten.
    """

    def __init__(self, network: nn.Layer, decay: float) -> None:
        self.network, self._decay = network, decay
        for parameter in network.parameters():
            parameter.stop_gradient = True

    @paddle.no_grad()
    def update(self, network: nn.Layer, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        # Paddle lists batch statistics among the parameters, with stop_gradient set.
        learnt = {name for name, parameter in network.named_parameters() if not parameter.stop_gradient}
        current = network.state_dict()
        for name, mean in self.network.state_dict().items():
            value = current[name]
            mean.set_value(mean * decay + value * (1 - decay) if name in learnt else value)


def join(device: str) -> None:
    """Choose the device and, under `paddle.distributed.launch`, join the other processes."""
    gpu = paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if device == "gpu" and not gpu:
        raise ConfigError("device is gpu, but the installed Paddle sees none; use device=cpu")
    use_gpu = gpu and device != "cpu"
    if not use_gpu:
        os.environ.setdefault("PADDLE_DISTRI_BACKEND", "gloo")
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1:
        paddle.distributed.init_parallel_env()  # also chooses this rank's device
    else:
        paddle.device.set_device("gpu" if use_gpu else "cpu")


def place() -> str:
    """ "cpu" or "gpu": where tensors are made."""
    device: str = paddle.device.get_device()
    return device.partition(":")[0]


def check_amp(amp: str) -> None:
    """Raise ConfigError on a CPU, where Paddle would silently compute in float32."""
    if amp != "none" and place() == "cpu":
        raise ConfigError(f"run.amp is {amp}, which Paddle has on GPUs only; use run.amp=none on a CPU")


def freeze_batch_norm(network: nn.Layer) -> None:
    """Make batch normalisation use its running statistics and leave them unchanged."""
    for layer in network.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            layer.eval()


def mean_over_ranks(values: Mapping[str, float]) -> dict[str, float]:
    """The values averaged over all processes; every process must call this with the same names."""
    world = paddle.distributed.get_world_size()
    if world == 1:
        return dict(values)
    joined = paddle.to_tensor(np.array(list(values.values()), np.float32))
    paddle.distributed.all_reduce(joined)
    return dict(zip(values, (joined / world).numpy().tolist(), strict=True))


@paddle.no_grad()
def same_on_all_ranks(network: nn.Layer) -> None:
    """Give every process the weights of rank 0."""
    if paddle.distributed.get_world_size() > 1:
        for value in network.state_dict().values():
            paddle.distributed.broadcast(value, src=0)


@paddle.no_grad()
def average_gradients(network: nn.Layer) -> None:
    """Replace every gradient by its mean over all processes, in one exchange.

    A parameter without a gradient counts as zero, unless it has none on every rank. Not by
    `paddle.DataParallel`: its hooks crash when a network outlives its wrapper, and overlapping the exchange with
    the backward pass would gain little for TBSRN's 13 MB.
    """
    world = paddle.distributed.get_world_size()
    if world == 1:
        return
    learnt = [p for p in network.parameters() if not p.stop_gradient]
    used = paddle.to_tensor([float(p.grad is not None) for p in learnt])
    flat = [paddle.zeros([p.size]) if p.grad is None else p.grad.astype("float32").flatten() for p in learnt]
    joined = paddle.concat([used, *flat])
    paddle.distributed.all_reduce(joined)
    used, *means = (joined / world).split([len(learnt), *(p.size for p in learnt)])
    for parameter, share, mean in zip(learnt, used.numpy(), means, strict=True):
        if share > 0:
            parameter.grad = mean.reshape(parameter.shape).astype(parameter.dtype)


def gradient_norm(network: nn.Layer) -> float:
    """Euclidean norm of all gradients together, before clipping."""
    squares = [p.grad.astype("float32").square().sum() for p in network.parameters() if p.grad is not None]
    return float(paddle.stack(squares).sum().sqrt())


def adam(network: nn.Layer, config: OptimiserConfig) -> paddle.optimizer.Adam:
    clips = {"global": nn.ClipGradByGlobalNorm, "per_tensor": nn.ClipGradByNorm}
    return paddle.optimizer.Adam(
        config.learning_rate,
        beta1=config.betas[0],
        beta2=config.betas[1],
        parameters=network.parameters(),
        grad_clip=clips[config.clip](config.clip_norm) if config.clip in clips else None,
    )


def optimiser_arrays(optimiser: paddle.optimizer.Adam, network: nn.Layer) -> Arrays:
    """Adam's state under `<parameter>/<moment>`.

    Paddle's own names, such as conv2d_7.w_0, count all layers made in the process, so a resumed run has others.
    """
    stored = optimiser.state_dict()
    return {
        f"{name}/{moment}": stored[f"{parameter.name}_{moment}"].numpy()
        for name, parameter in network.named_parameters()
        for moment in MOMENTS
        if f"{parameter.name}_{moment}" in stored
    }


def load_optimiser(optimiser: paddle.optimizer.Adam, network: nn.Layer, arrays: Arrays) -> None:
    """Restore `optimiser_arrays`. Raises KeyMismatch for parameters that the network lacks."""
    names = {name: parameter.name for name, parameter in network.named_parameters()}
    unknown = sorted({key.rpartition("/")[0] for key in arrays} - names.keys())
    if unknown:
        raise KeyMismatch(f"the optimiser's state has unknown parameters: {', '.join(unknown)}")
    stored = {}
    for key, value in arrays.items():
        name, _, moment = key.rpartition("/")
        stored[f"{names[name]}_{moment}"] = paddle.to_tensor(value)
    optimiser.set_state_dict(stored)
