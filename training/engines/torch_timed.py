"""Training against the clock: everything that a few minutes of a GPU can teach.

    makers: uint8 pairs -> pool on the device -> step, a CUDA graph for each reader and kind of batch -> averaged
    weights -> judged on the device by words read

A step never waits for the device: pairs are drawn there, clipping and the average stay there, figures are summed
there and fetched every ten seconds. Where a graph cannot be captured the step runs as it is. Pairs are met several
times and in no order, so a run cannot be taken up; what it saved on the way is where the next one starts
(`model.init`).

    python -m training train -c training/configs/ten-minutes.yml
"""

from __future__ import annotations

import copy
import csv
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from model_store.manifest import PixelSpec
from training.config import TrainConfig
from training.config_file import config_tree
from training.data.pool import Columns, Kind, Layout, Makers
from training.data.samples import Samples, training_samples
from training.engines.torch import open_network, placed_on, set_up, telescope_loss
from training.engines.torch_net import TBSRN
from training.engines.torch_parts import Average
from training.engines.torch_reading import Reader, Words, look_at
from training.engines.torch_weights import save_telescope
from training.errors import ConfigError
from training.judging import Figures, Uint8, figures, reads_crops, score, sheet, word_sets
from training.ocr import TextReader
from training.stop import StopRequest

AHEAD = 8  # steps that may wait for the GPU; more would only delay the end
POOL_SHARE = 0.2  # of the time, at most, to fill the pool with `FIRST` pairs of each kind
FIRST = 4  # batches of each kind that must be there before the first step
JUDGING_SHARE = 0.07  # of the time, for the words at the end
SAVES = 5  # on the way
STATISTICS_MOMENTUM = 0.02  # of batch normalisation: over some fifty batches, for they are averaged with nothing
SHEET_ROWS = 12
AVERAGE, LAST = "average.safetensors", "last.safetensors"


class Pool:
    """The newest pairs of each kind on the device, drawn from at random there."""

    def __init__(self, layouts: Mapping[Kind, Layout], *, size: int, device: torch.device) -> None:
        self.device, self._size = device, size
        self._pinned = device.type == "cuda"
        self._made = dict.fromkeys(layouts, 0)
        self._filled = {kind: torch.zeros((), device=device) for kind in layouts}
        self._columns = {
            kind: {
                name: torch.empty(size, *shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, device=device)
                for name, (shape, dtype) in layout.columns.items()
            }
            for kind, layout in layouts.items()
        }

    def __contains__(self, kind: Kind) -> bool:
        return kind in self._made

    def __len__(self) -> int:
        return sum(self.held(kind) for kind in self._made)

    def held(self, kind: Kind) -> int:
        return min(self._made[kind], self._size)

    def add(self, kind: Kind, columns: Columns) -> None:
        """Pairs over the oldest ones."""
        count = len(columns["codes"])
        at = self._made[kind] % self._size
        for name, array in columns.items():
            rows = torch.from_numpy(array)
            rows = rows.pin_memory() if self._pinned else rows
            self._columns[kind][name][at : at + count].copy_(rows, non_blocking=True)
        self._made[kind] += count
        self._filled[kind].fill_(self.held(kind))

    def draw(self, kind: Kind, count: int) -> dict[str, Tensor]:
        rows = (torch.rand(count, device=self.device) * self._filled[kind]).long()
        return {name: column[rows] for name, column in self._columns[kind].items()}


class Learner:
    """A network, its loss and its optimiser over a pool.

    other_share: of the rows of placed batches, those that are not Latin.
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
        self.steps, self._met = 0, {True: 0, False: 0}
        self._learning: Any = self.network
        if config.run.compile:
            self._learning = torch.compile(self.network, dynamic=False)
            for reader in self.loss.reading.readers if self.loss.reading is not None else ():
                assert isinstance(reader, Reader)
                reader.compile_networks()

    def step(self, rate: float) -> None:
        """One batch, at a learning rate."""
        if self._cuda:
            self._rate.fill_(rate)
        else:
            self._optimiser.param_groups[0]["lr"] = rate
        share = self.config.data.window_share
        placed = math.floor((self.steps + 1) * share) > math.floor(self.steps * share)
        turn = self._met[placed] % self.turns
        self._met[placed] += 1
        self._graphs.get((placed, turn), lambda: self._step(placed, turn))()
        self.average.update(self.network, self.steps)
        self.steps += 1

    def capture(self) -> str:
        """Make graphs of the steps if the device has graphs; says what came of it."""
        if not self._cuda:
            return "no CUDA: every step is run as it is"
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
            told = f"{len(kinds)} graphs, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        except Exception as exc:  # whatever a graph cannot hold; the minutes shall not be lost
            self._graphs = {}
            torch.cuda.synchronize()
            self._optimiser.zero_grad(set_to_none=False)
            told = f"no graphs, every step is run as it is: {exc!r:.500}"
        self._forget(kept)
        return told

    def parts(self) -> dict[str, float]:
        """Seconds a batch of the network, the readers and the optimiser, each run alone as it is."""
        placed = self._placements()[0]
        lr, hr, words = self._batch(placed)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            sr = self._learning(lr).float()
        found = {}
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}

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
        self._forget(kept)
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
        """Clip the gradients, take a step unless one is no number, and return their norm."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = torch.stack(torch._foreach_norm(gradients)).square().sum().sqrt()
        optimiser: Any = self._optimiser
        optimiser.found_inf, optimiser.grad_scale = (~norm.isfinite()).float(), None  # read by the fused step
        factor = (self.config.optimiser.clip_norm / norm).clamp(max=1.0).nan_to_num(0.0)
        torch._foreach_mul_(gradients, factor)
        optimiser.step()
        optimiser.zero_grad(set_to_none=not self._cuda)
        return norm

    def _forget(self, kept: Mapping[str, Tensor]) -> None:
        """Back to the weights before some trial steps, and an optimiser and loss that know nothing of them."""
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


class Judge:
    """Held-out words, read on the device by the loss's readers in full precision and colour, and by `others`."""

    def __init__(self, config: TrainConfig, device: torch.device, others: Sequence[TextReader] = ()) -> None:
        model = config.model
        spec = PixelSpec(model.height, model.width, model.scale)
        self.sets = word_sets(config.data, spec, seed=config.seed, limit=config.data.validation_limit)
        self.device = device
        readers = [Reader(name).to(device) for name in config.loss.readers]
        self._readers = {reader.name: self._reads(reader) for reader in readers}
        self._readers |= {reader.name: reads_crops(reader) for reader in others}

    @property
    def names(self) -> list[str]:
        """The readers'."""
        return list(self._readers)

    def plain(self, readers: Sequence[str]) -> dict[str, Figures]:
        """Preset -> figures of HR and bicubic."""
        chosen = {name: self._readers[name] for name in readers}
        return {
            words.name: figures(words, {"hr": words.hr, "bicubic": words.bicubic}, chosen) for words in self.sets
        }

    def figures(self, networks: Mapping[str, nn.Module], readers: Sequence[str]) -> dict[str, Figures]:
        """Preset -> figures of the networks, by name."""
        chosen = {name: self._readers[name] for name in readers}
        found: dict[str, Figures] = {}
        for words in self.sets:
            made = {name: self._enlarged(network, words.lr) for name, network in networks.items()}
            found[words.name] = figures(words, made, chosen)
        return found

    def sheet(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        rows = []
        for words in self.sets:
            made = {name: self._enlarged(network, words.lr[:SHEET_ROWS]) for name, network in networks.items()}
            rows.append(sheet(words, {"bicubic": words.bicubic, **made, "hr": words.hr}, rows=SHEET_ROWS))
        return Image.fromarray(np.concatenate(rows))

    @torch.no_grad()
    def _enlarged(self, network: nn.Module, lr: Uint8) -> Uint8:
        network.eval()
        batches = torch.from_numpy(lr).split(64)
        made = [network(b.to(self.device).permute(0, 3, 1, 2).float() / 255) for b in batches]
        sr: Uint8 = torch.cat(made).clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return sr

    def _reads(self, reader: Reader) -> Callable[[Uint8, np.ndarray], list[str]]:
        def read(pictures: Uint8, boxes: np.ndarray) -> list[str]:
            texts: list[str] = []
            pairs = zip(torch.from_numpy(pictures).split(64), torch.from_numpy(boxes).split(64), strict=True)
            for some, places in pairs:
                shown = some.to(self.device).permute(0, 3, 1, 2).float() / 255
                texts += reader.texts(look_at(shown, places.to(self.device)))
            return texts

        return read


class Log:
    """Lines to the screen and log.txt, rows to metrics.csv, each with the seconds since the start."""

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        self._lines = (out / "log.txt").open("w", buffering=1)
        self._csv = (out / "metrics.csv").open("w", newline="", buffering=1)
        self._rows: csv.DictWriter[str] | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        line = f"[{self.seconds:6.1f} s] {text}"
        print(line, flush=True)
        self._lines.write(line + "\n")

    def row(self, values: Mapping[str, object]) -> None:
        if self._rows is None:
            self._rows = csv.DictWriter(self._csv, list(values))
            self._rows.writeheader()
        self._rows.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in values.items()})


def train(config: TrainConfig) -> None:
    """Train for `run.seconds` in all, and leave weights, figures and a sheet in `config.out`."""
    log, device, samples = Log(config.out), set_up(config), open_samples(config)
    seconds = config.run.seconds
    assert seconds is not None, "the trainer asks for a run against the clock only when there is a time"
    with StopRequest() as stop, open_makers(config, samples) as makers:
        log.say(f"{config.data.workers} processes make pairs of {len(samples)} samples; device {device}")
        judge = Judge(config, device)
        pool = filled_pool(makers, config, device, log, until=seconds * POOL_SHARE)
        learner = Learner(config, pool, other_share=samples.other_share)
        start = copy.deepcopy(learner.average.network)
        log.say("seconds a batch, each part alone: " + _listed(learner.parts(), "{:.4f}"))
        log.say(learner.capture())
        learn(learner, makers, log, stop, until=seconds * (1 - JUDGING_SHARE))
    learner.average.copy_statistics(learner.network)
    about = {
        "steps": learner.steps,
        "pairs": learner.steps * config.run.batch_size,
        "made": makers.made,
        "seconds": round(log.seconds),
        "config": config_tree(config),
    }
    for name, network in ((LAST, learner.network), (AVERAGE, learner.average.network)):
        save(config.out / name, network, about)
    networks = {"start": start, "sr": learner.average.network}
    plain, made = judge.plain(judge.names), judge.figures(networks, judge.names)
    found = {preset: {**plain[preset], **made[preset]} for preset in plain}
    report(log, found, judge.names)
    (config.out / "evaluation.json").write_text(json.dumps({"about": about, "figures": found}, indent=1))
    judge.sheet(networks).save(config.out / "sheet.png")
    log.say(f"{config.out / AVERAGE}: {learner.steps} steps, {about['pairs']} pairs")


def filled_pool(
    makers: Makers, config: TrainConfig, device: torch.device, log: Log, *, until: float, total: int = 0
) -> Pool:
    """A pool with enough pairs of every kind to begin, and `total` made in all unless that takes too long."""
    pool = Pool(makers.layouts, size=config.data.pool, device=device)
    need = FIRST * config.run.batch_size
    while makers.made < total or any(pool.held(kind) < min(need, config.data.pool) for kind in makers.layouts):
        found = makers.take(wait=60)
        if found is not None:
            pool.add(*found)
        if log.seconds > until and all(pool.held(kind) for kind in makers.layouts):
            break
    log.say(f"the pool holds {len(pool)} pairs, {makers.made / log.seconds:.0f} a second since the start")
    return pool


def learn(learner: Learner, makers: Makers, log: Log, stop: StopRequest, *, until: float) -> None:
    """Steps until so many seconds of the log, or `run.steps`."""
    config, begin = learner.config, log.seconds
    optimiser, batch = config.optimiser, config.run.batch_size
    shown, seen, save_at, events = begin, 0, begin + until / SAVES, []
    every = 10.0 if learner.device.type == "cuda" else 15.0
    steps = config.run.steps
    while log.seconds < until and not stop.requested and (steps is None or learner.steps < steps):
        by_time = (log.seconds - begin) / (until - begin)
        through = min(1.0, by_time if steps is None else learner.steps / steps)
        cosine = optimiser.final_share + (1 - optimiser.final_share) * 0.5 * (1 + math.cos(math.pi * through))
        warm = min(1.0, (learner.steps + 1) / (optimiser.warmup_steps + 1))
        learner.step(optimiser.learning_rate * cosine * warm)
        for _ in range(AHEAD):
            found = makers.take()
            if found is None:
                break
            learner.pool.add(*found)
        if learner.device.type == "cuda":
            events.append(torch.cuda.Event())
            events[-1].record()
            if len(events) > AHEAD:
                events.pop(0).synchronize()
        if log.seconds - shown > every:
            values = learner.figures()
            trained, made = (learner.steps - seen) * batch / (log.seconds - shown), makers.made / log.seconds
            row = {"seconds": log.seconds, "step": learner.steps, "pairs": learner.steps * batch, **values,
                   "trained_per_s": trained, "made_per_s": made, "through": through}  # fmt: skip
            log.row(row)
            log.say(_listed(row, "{:.5g}"))
            shown, seen = log.seconds, learner.steps
        if log.seconds > save_at and steps is None:
            save_at += until / SAVES
            learner.average.copy_statistics(learner.network)
            save(config.out / AVERAGE, learner.average.network, {"steps": learner.steps})


def report(log: Log, found: Mapping[str, Figures], readers: list[str]) -> None:
    for preset, kinds in found.items():
        for kind, values in kinds.items():
            log.say(f"{preset:7} {kind:8} " + _listed(values, "{:.4g}"))
    for kind in next(iter(found.values())):
        log.say(f"words read, all presets and readers: {kind} {score(list(found.values()), kind, readers):.4f}")


def save(path: Path, network: nn.Module, about: Mapping[str, Any]) -> None:
    assert isinstance(network, TBSRN)
    save_telescope(path, network, source=about)


def open_samples(config: TrainConfig) -> Samples:
    model = config.model
    return training_samples(config.data, PixelSpec(model.height, model.width, model.scale), seed=config.seed)


def open_makers(config: TrainConfig, samples: Samples) -> Makers:
    if config.loss.text_focus or not config.data.workers or config.optimiser.clip != "global" or config.model.stn:
        raise ConfigError(
            "run.seconds wants loss.text_focus=false, model.stn=false, optimiser.clip=global, data.workers from 1"
        )
    return Makers(samples, workers=config.data.workers, seed=config.seed)


def _listed(values: Mapping[str, float], form: str) -> str:
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
