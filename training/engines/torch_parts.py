"""Pieces of the PyTorch engine: devices and processes, gradients, Adam's state, averaged weights."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from training.config import OptimiserConfig
from training.engines import Arrays
from training.engines.torch_weights import as_array, places
from training.errors import ConfigError, KeyMismatch

# Adam's state: Paddle's name -> PyTorch's. Stored under Paddle's, so that either engine can load it.
MOMENTS = {"moment1_0": "exp_avg", "moment2_0": "exp_avg_sq"}
POWER = "beta2_pow_acc_0"  # beta2 to the power of the number of steps


class Average:
    """Exponential moving average of the weights; batch statistics are copied, not averaged.

    The decay grows from 0.1 to its value, as (1 + step) / (10 + step), so that the start is soon forgotten.
    """

    # Not `AveragedModel`: it waits for the GPU at each update, and its first one copies the weights.
    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self._decay = network.requires_grad_(False), decay

    def update(self, network: nn.Module, step: int) -> None:
        follow = get_ema_multi_avg_fn(min(self._decay, (1 + step) / (10 + step)))
        follow(list(self.network.parameters()), list(network.parameters()), step)

    @torch.no_grad()
    def copy_statistics(self, network: nn.Module) -> None:
        """Copy the batch statistics; needed only before the average is used."""
        for mean, value in zip(self.network.buffers(), network.buffers(), strict=True):
            mean.copy_(value)


def join(device: str) -> torch.device:
    """Join the other processes under `torchrun` -> the device to compute on."""
    gpu = torch.cuda.is_available()
    if device == "gpu" and not gpu:
        raise ConfigError("device is gpu, but the installed PyTorch sees none; use device=cpu")
    use_gpu = gpu and device != "cpu"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if use_gpu else "gloo")
        atexit.register(dist.destroy_process_group)  # else its threads may abort the process at exit
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if use_gpu else torch.device("cpu")


def rank_and_world() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def mean_over_ranks(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """The values averaged over all processes; every process must call this with the same names."""
    _, world = rank_and_world()
    if world == 1:
        return dict(values)
    joined = torch.tensor(list(values.values()), device=device)
    dist.all_reduce(joined)
    return dict(zip(values, (joined / world).tolist(), strict=True))


@torch.no_grad()
def clip_gradients(network: nn.Module, config: OptimiserConfig) -> Tensor:
    """Clip as configured -> the norm of all gradients together, before clipping."""
    # Not `clip_grad_norm_`: it adds 1e-6 to the norm, as Paddle does not; after 30 steps losses differ by 0.6 %.
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    norms = torch.stack(torch._foreach_norm(gradients))
    total = norms.square().sum().sqrt()
    if config.clip != "none":
        kept = config.clip_norm / (total.expand_as(norms) if config.clip == "global" else norms)
        torch._foreach_mul_(gradients, list(kept.clamp(max=1.0).unbind()))
    return total


def freeze_batch_norm(network: nn.Module) -> None:
    """Make batch normalisation use its running statistics and leave them unchanged."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def optimiser_arrays(optimiser: torch.optim.Optimizer, network: nn.Module, config: OptimiserConfig) -> Arrays:
    """Adam's state under `<our parameter>/<moment>`, and the number of steps."""
    states = {name: optimiser.state[p] for name, p in network.named_parameters() if p in optimiser.state}
    found: Arrays = {}
    for ours, place in places(network).items():
        if place.name not in states:
            continue
        state = states[place.name]
        for moment, name in MOMENTS.items():
            found[f"{ours}/{moment}"] = as_array(state[name], place)
        steps = int(state["step"])
        for number, beta in enumerate(config.betas, start=1):
            found[f"{ours}/beta{number}_pow_acc_0"] = np.array([beta**steps], np.float32)
        found[f"{ours}/steps"] = np.array([steps])
    return found


def load_optimiser(
    optimiser: torch.optim.Optimizer, network: nn.Module, arrays: Arrays, config: OptimiserConfig
) -> None:
    """Restore this engine's or Paddle's arrays. Raises KeyMismatch for parameters that the network lacks."""
    known, parameters = places(network), dict(network.named_parameters())
    names = {key.rpartition("/")[0] for key in arrays}
    unknown = sorted(name for name in names if name not in known or known[name].name not in parameters)
    if unknown:
        raise KeyMismatch(f"the optimiser's state has unknown parameters: {', '.join(unknown)}")
    for ours in names:
        parameter, state = parameters[known[ours].name], {}
        for moment, name in MOMENTS.items():
            array = arrays[f"{ours}/{moment}"]
            value = torch.from_numpy(array.T if known[ours].transposed else array)
            state[name] = torch.empty_like(parameter).copy_(value)
        state["step"] = torch.tensor(float(_steps(arrays, ours, config)))
        optimiser.state[parameter] = state


def _steps(arrays: Arrays, ours: str, config: OptimiserConfig) -> int:
    if f"{ours}/steps" in arrays:
        return int(arrays[f"{ours}/steps"].item())
    power = max(float(arrays[f"{ours}/{POWER}"].item()), 1e-37)  # Paddle stores only the power, which underflows
    return max(1, round(np.log(power) / np.log(config.betas[1]))) if config.betas[1] else 1
