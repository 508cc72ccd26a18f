"""Measures one cell of words: their crops as the service returns them, and the readings of each recogniser.

    words -> crops of a cell -> plain | always | auto | for each recogniser by name -> read
    plain, and super-resolved where the plain reading is unsure -> the surer reading: the second opinion

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
from model_store.calibration import SecondOpinion
from model_store.pixels import Rgb
from training.calibration.cells import Cell, Word, crop
from training.calibration.readers import SharedReader, is_read
from training.ocr import Reading
from training.readings import Readings

VARIANTS = ("plain", "always", "auto", "named", "second")  # as reported
Finished = tuple[Rgb, Decision]
Right = npt.NDArray[np.bool_]  # (words,)


@dataclass(frozen=True)
class Measured:
    """One script in one cell. right: by recogniser and variant. reasons: of "auto" and of each recogniser.

    sent: by recogniser, the crops that second opinions send. kept: the crops whose second reading is kept.
    """

    script: str
    cell: Cell
    right: Mapping[str, Mapping[str, Right]]
    reasons: Mapping[str, Counter[str]]
    sent: Mapping[str, Right]
    kept: Mapping[str, Right]


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
    sent, kept = {}, {}
    for name, reader in readers.items():
        known = name in subject.gate.recognisers
        finished[name] = _finished(subject, plain, RoutingPolicy("auto", name)) if known else []
        named = _pictures(finished[name]) or plain
        read = _Cell(reader.for_script(script), words, readings, label=f"{script}, {cell.name}, {name}")
        right[name] = {
            variant: read.right(made, label=variant) for variant, made in (pictures | {"named": named}).items()
        }
        right[name]["second"], sent[name], kept[name] = read.second_opinion(subject, plain)
    reasons: dict[str, Counter[str]] = {
        name: Counter(decision.reason for _, decision in made) for name, made in finished.items()
    }
    return Measured(script, cell, right, reasons, sent, kept)


class _Cell:
    """One recogniser in one cell."""

    def __init__(self, reader: SharedReader, words: Sequence[Word], readings: Readings, *, label: str) -> None:
        self._reader = reader
        self._words = words
        self._readings = readings
        self._label = label

    def right(self, pictures: Sequence[Rgb], *, label: str) -> Right:
        texts = self._readings.read(self._reader, pictures, label=f"{self._label}, {label}")
        return np.array([is_read(text, word.label) for text, word in zip(texts, self._words, strict=True)])

    def second_opinion(self, subject: Subject, plain: Sequence[Rgb]) -> tuple[Right, Right, Right]:
        """Read right, sent, second reading kept; without limits no crop is sent."""
        name = self._reader.name
        limits = subject.gate.second_opinions.get(name, SecondOpinion(below=0, margin=0))
        readings = self._sure(plain)
        sent = np.array([reading.confidence < limits.below for reading in readings])
        places = np.flatnonzero(sent).tolist()
        always = RoutingPolicy("always", name)
        pictures = _pictures(_finished(subject, [plain[i] for i in places], always)) if places else []
        kept = np.zeros_like(sent)
        for i, second in zip(places, self._sure(pictures), strict=True):
            if limits.keeps_second(readings[i].confidence, second.confidence):
                readings[i], kept[i] = second, True
        right = [is_read(reading.text, word.label) for reading, word in zip(readings, self._words, strict=True)]
        return np.array(right), sent, kept

    def _sure(self, pictures: Sequence[Rgb]) -> list[Reading]:
        return self._readings.read_with_confidence(self._reader, pictures, label=f"{self._label}, confidence")


def _finished(subject: Subject, crops: Sequence[Rgb], policy: RoutingPolicy) -> list[Finished]:
    return InProcess(subject.predictor, subject.pipeline, policy=policy)(crops)


def _pictures(finished: Sequence[Finished]) -> list[Rgb]:
    return [rgb for rgb, _ in finished]
