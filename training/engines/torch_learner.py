"""Training steps that never wait for the device: they draw, clip and average there, as CUDA graphs."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from training.config import TrainConfig
from training.data.pool import Kind
from training.engines.torch import open_network, placed_on, telescope_loss
from training.engines.torch_net import TBSRN
from training.engines.torch_parts import Average
from training.engines.torch_pool import Pool
from training.engines.torch_reading import Reader, Words

STATISTICS_MOMENTUM = 0.02  # of batch normalisation: over some fifty batches, as nothing else averages them


class Learner:
    """A network, its loss and its optimiser over a pool.

    other_share: share of rows in placed batches that are not Latin.
    """

    def __init__(self, config: TrainConfig, pool: Pool, *, other_share: float) -> None:
        self.config, self.pool, self.device = config, pool, pool.device
        self._cuda, self._autocast = self.device.type == "cuda", config.run.amp == "bfloat16"
        self._other_share = other_share if Kind(True, False) in pool else 0.0
        self.network: TBSRN = placed_on(open_network(config), self.device).train()
        for layer in self.network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = STATISTICS_MOMENTUM
        self.average = Average(copy.deepcopy(self.network), config.run.ema_decay or 0.999)
        self.loss = telescope_loss(config, self.device)
        self.turns = len(config.loss.readers) if config.loss.readers and config.loss.reader_turns else 1
        rate: Any = torch.full((), config.optimiser.learning_rate, device=self.device) if self._cuda else 0.0
        self._rate = rate
        self._optimiser = torch.optim.Adam(
            self.network.parameters(), rate, config.optimiser.betas, fused=True, capturable=self._cuda
        )
        self.sums = torch.zeros(4, device=self.device)  # mse, reading, norm, steps
        self._graphs: dict[tuple[bool, int], Callable[[], None]] = {}
        self.steps, self._batches = 0, {True: 0, False: 0}
        self._learning: Any = self.network
        if config.run.compile:
            self._learning = torch.compile(self.network, dynamic=False)
            for reader in self.loss.reading.readers if self.loss.reading is not None else ():
                assert isinstance(reader, Reader)
                reader.compile_networks()

    def step(self, rate: float) -> None:
        """Train on one batch."""
        if self._cuda:
            self._rate.fill_(rate)
        else:
            self._optimiser.param_groups[0]["lr"] = rate
        share = self.config.data.window_share
        placed = math.floor((self.steps + 1) * share) > math.floor(self.steps * share)
        turn = self._batches[placed] % self.turns
        self._batches[placed] += 1
        self._graphs.get((placed, turn), lambda: self._step(placed, turn))()
        self.average.update(self.network, self.steps)
        self.steps += 1

    def capture(self) -> str:
        """Capture the steps as CUDA graphs if possible -> a line for the log."""
        if not self._cuda:
            return "no CUDA: steps run without graphs"
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        kinds = [(placed, turn) for placed in self._placements() for turn in range(self.turns)]
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for placed, turn in kinds * 3:
                    self._step(placed, turn)
            torch.cuda.current_stream().wait_stream(side)
            memory = None
            for placed, turn in kinds:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=memory, capture_error_mode="thread_local"):
                    self._step(placed, turn)
                memory = memory or graph.pool()
                self._graphs[placed, turn] = graph.replay
            result = f"{len(kinds)} graphs, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        except Exception as exc:  # capturing fails in many ways, and training without it is only slower
            self._graphs = {}
            torch.cuda.synchronize()
            self._optimiser.zero_grad(set_to_none=False)
            result = f"no graphs, steps run without them: {exc!r:.500}"
        self._undo_trials(kept)
        return result

    def parts(self) -> dict[str, float]:
        """Seconds per batch of drawing, network, readers and optimiser, each timed alone and without a graph."""
        placed = self._placements()[0]
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        lr, hr, words = self._batch(placed)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            sr = self._learning(lr).float()
        found = {}

        def network() -> None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
                self._learning(lr).float().square().mean().backward()

        def optimiser() -> None:
            for parameter in self.network.parameters():
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            self._learn()

        def readers() -> None:
            assert self.loss.reading is not None
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
                self.loss.reading(sr.detach().requires_grad_(), hr, words, turn=0).backward()

        jobs = {"drawing": lambda: self._batch(placed), "network": network}
        if self.loss.reading is not None:
            jobs["readers"] = readers
        jobs["optimiser"] = optimiser
        for name, job in jobs.items():
            times = []
            for _ in range(3):
                self._wait()
                started = time.perf_counter()
                job()
                self._wait()
                times.append(time.perf_counter() - started)
            found[name] = min(times[1:])
        self._undo_trials(kept)
        return found

    def figures(self) -> dict[str, float]:
        """Means since the last call; waits for the device."""
        mse, reading, norm, steps = self.sums.tolist()
        self.sums.zero_()
        steps = max(1.0, steps)
        return {"mse": mse / steps, "reading": reading / steps, "grad_norm": norm / steps}

    def _placements(self) -> list[bool]:
        share = self.config.data.window_share
        return [placed for placed, used in ((True, share > 0), (False, share < 1)) if used]

    def _batch(self, placed: bool) -> tuple[Tensor, Tensor, Words]:
        count = self.config.run.batch_size
        others = round(count * self._other_share) if placed else 0
        rows = self.pool.draw(Kind(placed, True), count - others)
        if others:
            more = self.pool.draw(Kind(placed, False), others)
            rows = {name: torch.cat([column, more[name]]) for name, column in rows.items()}
        lr, hr = (
            rows[name].permute(0, 3, 1, 2).float() / 255 for name in ("lr", "hr")
        )  # channels last, as stored
        return lr, hr, Words(rows["codes"], rows["whole"], rows["box"], rows["sharp"], count - others)

    def _step(self, placed: bool, turn: int) -> None:
        lr, hr, words = self._batch(placed)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            sr = self._learning(lr).float()
            parts = self.loss(sr, hr, (), lr=lr, words=words, turn=turn)
        parts["loss"].backward()
        norm = self._learn()
        reading = parts.get("reading", parts["mse"]).detach()
        one = torch.ones((), device=self.device)
        self.sums.add_(torch.stack([parts["mse"].detach(), reading, norm, one]).nan_to_num(0.0))

    @torch.no_grad()
    def _learn(self) -> Tensor:
        """Clip the gradients and update the weights, if the norm is finite -> the norm before clipping."""
        norm = clip_grad_norm_(self.network.parameters(), self.config.optimiser.clip_norm)
        optimiser: Any = self._optimiser
        optimiser.found_inf, optimiser.grad_scale = (~norm.isfinite()).float(), None  # read by Adam
        optimiser.step()
        optimiser.zero_grad(set_to_none=not self._cuda)
        return norm

    def _undo_trials(self, kept: Mapping[str, Tensor]) -> None:
        """Undo trial steps: restore the weights `kept`, and reset the optimiser, the loss and the sums."""
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                value.copy_(kept[name])
            for state in self._optimiser.state.values():
                for value in state.values():
                    value.zero_()
            if self.loss.reading is not None:
                self.loss.reading.limits.zero_()
        self.sums.zero_()

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
