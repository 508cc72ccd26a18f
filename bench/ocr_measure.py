"""Measures one cell of words: their crops as the service returns them, and the readings of each recogniser.

    words -> crops of a cell -> plain | always | auto | for each recogniser by name -> read

The pictures come from the service's own code, in this process (`app/bulk/in_process.py`). Readings are kept: an
interrupted command goes on, and for a second model only its own pictures are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.bulk.in_process import InProcess
from app.imaging.quality_gate import ALWAYS, DEFAULT_POLICY, Decision, RoutingPolicy
from bench.subject import Subject
from model_store.pixels import Rgb
from training.calibration.cells import Cell, Word, crop
from training.calibration.readers import SharedReader, is_read
from training.readings import Readings

VARIANTS = ("plain", "always", "auto", "named")  # as reported
Finished = tuple[Rgb, Decision]
Right = npt.NDArray[np.bool_]  # (words,)


@dataclass(frozen=True)
class Measured:
    """One script in one cell. right: by recogniser and variant. reasons: of "auto" and of each recogniser."""

    script: str
    cell: Cell
    right: Mapping[str, Mapping[str, Right]]
    reasons: Mapping[str, Counter[str]]


def measure_cell(
    subject: Subject,
    words: Sequence[Word],
    cell: Cell,
    readers: Mapping[str, SharedReader],
    readings: Readings,
    *,
    seed: int,
) -> Measured:
    """words: of one script."""
    script = words[0].script
    plain = [crop(word, cell, seed=seed) for word in words]
    finished = {"auto": _finished(subject, plain, DEFAULT_POLICY)}
    pictures = {
        "plain": plain,
        "always": _pictures(_finished(subject, plain, ALWAYS)),
        "auto": _pictures(finished["auto"]),
    }
    right: dict[str, dict[str, Right]] = {}
    for name, reader in readers.items():
        known = name in subject.gate.recognisers
        finished[name] = _finished(subject, plain, RoutingPolicy("auto", name)) if known else []
        named = _pictures(finished[name]) or plain
        label = f"{script}, {cell.name}, {name}"
        right[name] = {
            variant: _read(reader.for_script(script), made, words, readings, label=f"{label}, {variant}")
            for variant, made in (pictures | {"named": named}).items()
        }
    reasons: dict[str, Counter[str]] = {
        name: Counter(decision.reason for _, decision in made) for name, made in finished.items()
    }
    return Measured(script, cell, right, reasons)


def _finished(subject: Subject, crops: Sequence[Rgb], policy: RoutingPolicy) -> list[Finished]:
    return InProcess(subject.predictor, subject.pipeline, policy=policy)(crops)


def _pictures(finished: Sequence[Finished]) -> list[Rgb]:
    return [rgb for rgb, _ in finished]


def _read(
    reader: SharedReader, pictures: Sequence[Rgb], words: Sequence[Word], readings: Readings, *, label: str
) -> Right:
    texts = readings.read(reader, pictures, label=label)
    return np.array([is_read(text, word.label) for text, word in zip(texts, words, strict=True)])
