"""Words read from blurred crops: after Text Telescope, and after the usual ways to enlarge.

    words of the proof half, each as a crop of one blurred cell
      -> plain | enlarged in another way (enlargers.py) | as the service returns it (ocr_ways.py)
      -> each recogniser -> right or wrong, and sure or not

As a second opinion an enlarged crop replaces the super-resolved one: it is read where the recogniser is unsure of
the plain crop, by the model's own limits, and the surer reading is kept. Changes are points over the plain crop
with 95 % intervals over words. Seconds are of enlarging alone, on every core. After an interruption the same
command goes on with the readings that it has kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import cv2
import numpy as np
from tqdm import tqdm

from bench.enlargers import INTERPOLATED, NETWORKS, Enlarger, enlarger
from bench.harness.options import DATA, MODEL, READING, Options, Value
from bench.harness.report import Report, Table
from bench.ocr_ways import POLICIES, WAYS, Subject, Treated, kept, open_subject, read_in_every_way
from model_store.pixels import Rgb
from training.calibration.cells import CELLS, SCRIPTS, Word, crop, words
from training.calibration.readers import READER_NAMES, SharedReader, is_read, shared_readers
from training.chart import GAIN, LOSS, RULE, subplots
from training.data.crops import sample_seed
from training.paired import Difference, difference
from training.readings import Readings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPTIONS: Options = {
    **MODEL,
    **DATA,
    **READING,
    "readers": Value(READING["readers"].full, quick="rapidocr-v6"),
    "scripts": Value(",".join(SCRIPTS), quick="digits"),
    "parts": Value(",".join((*INTERPOLATED, *NETWORKS)), quick=",".join(INTERPOLATED)),
    "limit": Value(None, quick=2, kind=int),
}
BLURRED = [cell for cell in CELLS if cell.is_blurred]
CHUNK = 24  # crops that are enlarged in one way before the next
OURS = {way: WAYS[way] for way in ("named", "auto", "always", "second")}
SECOND = "as a second opinion"


@dataclass
class Results:
    """right: (recogniser, way) -> for each word, if it is read. scripts: of each word. seconds: way -> in all."""

    scripts: list[str] = field(default_factory=list)
    right: dict[tuple[str, str], list[bool]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, reader: str, way: str, texts: Sequence[str], own: Sequence[Word]) -> None:
        found = [is_read(text, word.label) for text, word in zip(texts, own, strict=True)]
        self.right.setdefault((reader, way), []).extend(found)

    def share(self, reader: str, way: str, script: str | None = None) -> float:
        return 100 * float(self._flags(reader, way, script).mean())

    def change(self, reader: str, way: str, *, over: str = "plain", script: str | None = None) -> Difference:
        return difference(self._flags(reader, way, script) - self._flags(reader, over, script))

    def _flags(self, reader: str, way: str, script: str | None) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        wanted = [script in (None, own) for own in self.scripts]
        return np.array(self.right[reader, way], float)[wanted]


def measure(args: argparse.Namespace) -> Report:
    cv2.setNumThreads(1)
    names, scripts, others = (value.split(",") for value in (args.readers, args.scripts, args.parts))
    ways = {name: enlarger(name) for name in others}
    subject = open_subject(args)
    with (
        closing(subject.predictor),
        shared_readers(names, scripts) as readers,
        Readings(args.work / "readings.jsonl") as readings,
    ):
        results = _read(args, subject, ways, readers, readings)
    tables = {
        "blurred": _table("blurred crops", results, names, [*others, *OURS]),
        "second_opinions": _table("second opinions", results, names, [*map(_second, others), "second"]),
        "by_script": _by_script(results, names, others, scripts),
    }
    facts = {"words": str(len(results.scripts))}
    figures = {
        "model": [subject.name, subject.predictor.precision, subject.artefact.digest],
        "words read": {f"{name}, {way}": sum(right) for (name, way), right in results.right.items()},
        "seconds a crop": {way: seconds / len(results.scripts) for way, seconds in results.seconds.items()},
    }
    return Report(figures, tables, facts, {"alternatives": _chart(results, names, others, subject.name)})


def _read(
    args: argparse.Namespace,
    subject: Subject,
    ways: Mapping[str, Enlarger],
    readers: Mapping[str, SharedReader],
    readings: Readings,
) -> Results:
    results = Results()
    chosen = {s: words(args.data, "proof", scripts=[s], limit=args.limit) for s in args.scripts.split(",")}
    with tqdm(total=sum(map(len, chosen.values())), desc="alternatives", unit="crop", disable=None) as bar:
        for script, own in ((script, own) for script, all_ in chosen.items() for own in _chunks(all_)):
            crops = [_blurred(word, args.seed) for word in own]
            treated = {way: _timed(results, way, subject, crops) for way in POLICIES}
            enlarged = {name: _enlarged(results, name, enlarge, crops) for name, enlarge in ways.items()}
            for name, reader in readers.items():
                in_script = reader.for_script(script)
                found = read_in_every_way(subject, in_script, readings, crops, treated)
                plain, _ = found["plain"]
                for way, (texts, _) in found.items():
                    results.add(name, way, [one.text for one in texts], own)
                for way, pictures in enlarged.items():
                    again = readings.read_with_confidence(in_script, pictures, label=name)
                    results.add(name, way, [one.text for one in again], own)
                    surer = kept(plain, again, subject.limits(name))
                    results.add(name, _second(way), [one.text for one in surer], own)
            results.scripts += [script] * len(own)
            bar.update(len(own))
    return results


def _chunks(own: Sequence[Word]) -> Iterator[Sequence[Word]]:
    yield from (own[first : first + CHUNK] for first in range(0, len(own), CHUNK))


def _blurred(word: Word, seed: int) -> Rgb:
    """The word's crop in a cell drawn by its name."""
    return crop(word, BLURRED[sample_seed(seed, f"alternatives {word.name}") % len(BLURRED)], seed=seed)


def _timed(results: Results, way: str, subject: Subject, crops: Sequence[Rgb]) -> Treated:
    started = perf_counter()
    made = subject.treated(crops, POLICIES[way])
    results.seconds[way] = results.seconds.get(way, 0) + perf_counter() - started
    return made


def _enlarged(results: Results, name: str, enlarge: Enlarger, crops: Sequence[Rgb]) -> list[Rgb]:
    started = perf_counter()
    made = [enlarge(rgb) for rgb in crops]
    results.seconds[name] = results.seconds.get(name, 0) + perf_counter() - started
    return made


def _second(way: str) -> str:
    return f"{way} {SECOND}"


def _label(way: str) -> str:
    return f"Text Telescope, {OURS[way]}" if way in OURS else way


def _table(title: str, results: Results, names: Sequence[str], ways: Sequence[str]) -> Table:
    """With the time of each way, if one was measured."""
    timed = bool(results.seconds.keys() & set(ways))
    rows = [["plain crop", *(f"{results.share(name, 'plain'):.1f}" for name in names), *[""] * timed]]
    for way in ways:
        changes = [results.change(name, way).text() for name in names]
        seconds = results.seconds.get(way)
        cost = "" if seconds is None else f"{1000 * seconds / len(results.scripts):.1f}"
        rows.append([_label(way), *changes, *[cost] * timed])
    heads = ["words read, %", *(READER_NAMES.get(name, name) for name in names), *["ms a crop"] * timed]
    return Table(f"{title}; changes over the plain crop", heads, rows)


def _by_script(results: Results, names: Sequence[str], others: Sequence[str], scripts: Sequence[str]) -> Table:
    columns = [(name, script) for name in names for script in scripts]
    rows = [["plain crop", *(f"{results.share(name, 'plain', script):.1f}" for name, script in columns)]]
    for way in (*others, *OURS):
        changes = (results.change(name, way, script=script).text() for name, script in columns)
        rows.append([_label(way), *changes])
    heads = (f"{READER_NAMES.get(name, name)}, {script}" for name, script in columns)
    return Table("the same by script", ["words read, %", *heads], rows)


def _chart(results: Results, names: Sequence[str], others: Sequence[str], model: str) -> Figure:
    """A panel for each recogniser: bars of the points over the plain crop, with their intervals."""
    ways = [*reversed(OURS), *reversed(others)]
    figure, axes = subplots(1, len(names), size=(2.6 + 2.6 * len(names), 0.9 + 0.27 * len(ways)))
    figure.suptitle(f"words of 100 gained over the plain crop, blurred crops: {model} and others", weight="bold")
    for column, (own, name) in enumerate(zip(axes.flat, names, strict=True)):
        changes = [results.change(name, way) for way in ways]
        points = [one.points for one in changes]
        spans = [[one.points - one.low for one in changes], [one.high - one.points for one in changes]]
        colours = [GAIN if value >= 0 else LOSS for value in points]
        own.barh(range(len(ways)), points, xerr=spans, color=colours, ecolor="#8b95a1", height=0.7)
        own.set_yticks(range(len(ways)), [_label(way) for way in ways] if column == 0 else [""] * len(ways))
        own.axvline(0, color=RULE, zorder=0)
        own.axhline(len(OURS) - 0.5, color=RULE, linewidth=0.8)
        own.set_title(
            f"{READER_NAMES.get(name, name)} ({results.share(name, 'plain'):.0f} % plain)", weight="bold"
        )
    return figure
