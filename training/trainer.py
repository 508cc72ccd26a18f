"""The training loop, for any engine and either network. It reads from top to bottom.

    batch -> engine.step -> row of metrics -> evaluation, best.safetensors -> last.ckpt -> next batch

Every rank runs the same loop; rank 0 alone evaluates, logs and writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import yaml

from model_store.manifest import PixelSpec
from training.config import CommonConfig, learning_rate_at
from training.config_file import changed_settings, config_tree
from training.data.loader import Loader
from training.data.samples import Batch, training_samples
from training.engines import Engine, NonFinite
from training.errors import RunError
from training.run_log import RunLog
from training.run_state import Identity, RunProgress, git_commit, load_run, save_run
from training.stop import INTERRUPTED, StopRequest
from training.validation import Evaluation

LAST = "last.ckpt"  # the state that --resume continues from
LAST_WEIGHTS = "last.safetensors"  # the weights alone, for the other commands
BEST_WEIGHTS = "best.safetensors"


def open_loader(config: CommonConfig, spec: PixelSpec, engine: Engine) -> Loader:
    """Training batches of the rank of `engine`. Raises DataError or ConfigError."""
    return Loader(
        training_samples(config.data, spec, seed=config.seed),
        config.run.batch_size,
        config.seed,
        shuffle=config.data.shuffle,
        workers=config.data.workers,
        rank=engine.rank,
        world=engine.world,
    )


class Trainer:
    """One run in its folder.

    evaluate: measures the engine's network; called on rank 0. columns: names of the values that it and
    `engine.step` give. Raises RunError if the folder holds a run and resume is False, or none and it is True.
    """

    def __init__(
        self,
        config: CommonConfig,
        engine: Engine,
        loader: Loader,
        *,
        evaluate: Callable[[], Evaluation],
        columns: Sequence[str],
        resume: bool,
    ) -> None:
        self.config, self.engine, self.loader = config, engine, loader
        self._evaluate, self._columns = evaluate, columns
        self.steps = config.run.steps or config.run.epochs * loader.steps_per_epoch
        self.identity = Identity(config.engine, engine.architecture, config_tree(config), git_commit())
        self.progress = self._resume() if resume else self._begin()
        self._evaluated_at = time.monotonic()

    def fit(self) -> None:
        """Train to the end. Ctrl-C or SIGTERM saves the run and exits with 130. Raises RunError."""
        progress, stopping = self.progress, False
        with ExitStack() as stack:
            log = stack.enter_context(self._log()) if self.engine.rank == 0 else None
            stop = stack.enter_context(StopRequest())
            batches = stack.enter_context(closing(self.loader.batches(progress.step)))
            while progress.step < self.steps and not stopping:
                batch = next(batches)
                values = self._learn(batch)
                progress.add(values)
                progress.unreadable += batch.unreadable
                stopping = self.engine.any(stop.requested)  # all ranks stop after the same step
                if log is not None:
                    self._record(log, values["loss"], stopping)
        if stopping and progress.step < self.steps:
            if self.engine.rank == 0:
                print(f"stopped after step {progress.step}; go on with the same command and --resume")
            raise SystemExit(INTERRUPTED)

    def _learn(self, batch: Batch) -> dict[str, float]:
        step = self.progress.step
        rate = learning_rate_at(self.config.optimiser, step=step, steps=self.steps)
        try:
            return {**self.engine.step(batch, step=step, learning_rate=rate), "learning_rate": rate}
        except NonFinite as exc:
            path = self.config.out / f"not-finite-step{step}-rank{self.engine.rank}.npz"
            np.savez(path, lr=batch.lr, hr=batch.hr, labels=np.array(batch.labels))
            raise RunError(
                f"stopped at step {step}, before it changed the weights: {exc}; its batch is in {path}; "
                "look at it, or resume with a lower optimiser.learning_rate"
            ) from exc

    def _record(self, log: RunLog, loss: float, stopping: bool) -> None:
        run, progress = self.config.run, self.progress
        step, last = progress.step, progress.step == self.steps
        epoch = (step - 1) // self.loader.steps_per_epoch + 1
        log.stepped(loss)
        if step % run.log_every == 0 or last:
            log.values({**progress.take_means(), "steps_per_s": log.steps_per_s()}, step=step, epoch=epoch)
        late = run.evaluate_seconds is not None and time.monotonic() - self._evaluated_at > run.evaluate_seconds
        if step % run.evaluate_every == 0 or last or late:
            self._measure(log, step, epoch)
            self._evaluated_at = time.monotonic()
        if step % run.save_every == 0 or last or stopping:
            self._save()

    def _measure(self, log: RunLog, step: int, epoch: int) -> None:
        found, progress = self._evaluate(), self.progress
        log.values(found.values, step=step, epoch=epoch)
        if found.sheet is not None:
            log.sheet(found.sheet, step=step)
        best = progress.best is None or found.score > progress.best
        log.say(f"step {step}/{self.steps}, epoch {epoch}: {found.line()}{' (best so far)' if best else ''}")
        if best:
            progress.best, progress.best_step = found.score, step
            self.engine.save_weights(self.config.out / BEST_WEIGHTS, source=self._source(found.values))

    def _save(self) -> None:
        self.engine.save_weights(self.config.out / LAST_WEIGHTS, source=self._source({}))
        arrays = self.engine.state()
        save_run(self.config.out / LAST, arrays, progress=self.progress, identity=self.identity)

    def _source(self, values: Mapping[str, float]) -> dict[str, Any]:
        """The origin record of a weight file."""
        return {
            "step": self.progress.step,
            "engine": self.identity.engine,
            "config": self.identity.config,
            "git_commit": self.identity.git_commit,
            "metrics": dict(values),
        }

    def _log(self) -> RunLog:
        columns = ("loss", *self._columns, "grad_norm", "learning_rate", "steps_per_s")
        return RunLog(self.config.out, columns=columns, start=self.progress.step, steps=self.steps)

    def _begin(self) -> RunProgress:
        out = self.config.out
        if (out / LAST).exists():
            raise RunError(f"{out} holds a run already; go on with --resume, or give another out=DIR")
        self._write_config()
        return RunProgress()

    def _resume(self) -> RunProgress:
        path = self.config.out / LAST
        arrays, progress, before = load_run(path, identity=self.identity)
        self.engine.load_state(arrays, origin=str(path))
        changes = changed_settings(before, self.identity.config)
        if self.engine.rank == 0:
            print(f"resuming {path} after step {progress.step}" + "".join(f"; {c}" for c in changes))
            self._write_config()
        return progress

    def _write_config(self) -> None:
        """Write the settings beside the results; `-c out/config.yml` repeats the run."""
        if self.engine.rank != 0:
            return
        try:
            self.config.out.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(self.identity.config, sort_keys=False)
            (self.config.out / "config.yml").write_text(text, encoding="utf-8")
        except OSError as exc:
            raise RunError(f"cannot write to {self.config.out}: {exc}") from exc
