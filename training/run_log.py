"""The log of a run: metrics.csv, TensorBoard, pictures, a progress bar.

    out/metrics.csv   step, epoch, and one column for each value; evaluations have separate rows
    out/tensorboard   the same values and the sheets: tensorboard --logdir runs
    out/sheets        the sheet of each evaluation as PNG

Resuming drops rows written after the resumed step.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from PIL import Image
from tensorboardX import SummaryWriter
from tqdm import tqdm

from training.data.lmdb import Rgb

CSV_FILE = "metrics.csv"


class RunLog:
    """The log of rank 0. columns: names of the values, in the order of the CSV.

    start, steps: current and last step of the run.
    """

    def __init__(self, out: Path, *, columns: Sequence[str], start: int, steps: int) -> None:
        self._out = out
        self._columns = ("step", "epoch", *columns)
        path = out / CSV_FILE
        kept = [row for row in _read_rows(path) if int(row["step"]) <= start]
        self._file = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.DictWriter(self._file, self._columns, extrasaction="ignore")
        self._csv.writeheader()
        self._csv.writerows(kept)
        self._file.flush()
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1)
        self._bar = tqdm(total=steps, initial=start, unit="step", disable=None, file=sys.stderr)
        self._since, self._steps_since = time.monotonic(), 0

    def stepped(self, loss: float) -> None:
        """Move the progress bar."""
        self._steps_since += 1
        self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self._bar.update()

    def steps_per_s(self) -> float:
        """Speed since the last call, evaluations included."""
        now = time.monotonic()
        rate = self._steps_since / max(now - self._since, 1e-9)
        self._since, self._steps_since = now, 0
        return rate

    def values(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Write a row after `step` steps."""
        unknown = values.keys() - set(self._columns)
        assert not unknown, f"no column for {unknown}"
        self._csv.writerow({"step": step, "epoch": epoch} | {k: repr(v) for k, v in values.items()})
        self._file.flush()
        if self._bar.disable and "loss" in values:  # without a terminal, lines instead of a bar
            self.say(f"step {step}/{self._bar.total}, epoch {epoch}: loss {values['loss']:.4g}")
        for name, value in values.items():
            self._board.add_scalar(name.replace("val_", "validation/"), value, step)

    def sheet(self, sheet: Rgb, *, step: int) -> None:
        """Save the sheet of an evaluation, uint8 (H, W, 3)."""
        folder = self._out / "sheets"
        folder.mkdir(exist_ok=True)
        Image.fromarray(sheet).save(folder / f"step{step:07d}.png")
        self._board.add_image("lr-bicubic-sr-hr", sheet, step, dataformats="HWC")

    def say(self, line: str) -> None:
        """Print a line without disturbing the progress bar."""
        self._bar.write(line, file=sys.stdout)
        sys.stdout.flush()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._board.close()
        self._file.close()


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        # Skip a row that a killed run left unfinished: it has no step number or too few cells.
        return [
            row for row in csv.DictReader(stream) if (row["step"] or "").isdigit() and None not in row.values()
        ]
