"""Words that recognisers read from small crops, with and without Text Telescope.

    words of the proof half -> crops of each cell: six heights times five blurs, with noise or JPEG
      -> plain, or as the service returns them (ocr_ways.py) -> each recogniser -> right or wrong

A word is right if all of its letters and digits are. Changes are points, words of 100, over the plain crop; their
95 % intervals are over words, and bold ones are without 0. After an interruption the same command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from tqdm import tqdm

from bench.harness.options import DATA, MODEL, READING, Options, Value
from bench.harness.report import Report, Table
from bench.ocr_ways import POLICIES, WAYS, Flags, Subject, open_subject, read_in_every_way
from training.calibration.cells import BLURS, CELLS, HEIGHTS, SCRIPTS, Cell, crop, words
from training.calibration.readers import READER_NAMES, is_read, shared_readers
from training.chart import GAIN, INK, RULE, SOFT, grid, subplots
from training.paired import Difference, difference
from training.readings import Readings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPTIONS: Options = {
    **MODEL,
    **DATA,
    **READING,
    "readers": Value(READING["readers"].full, quick="rapidocr-v6"),
    "scripts": Value(",".join(SCRIPTS), quick="digits"),  # rendered: the sample crops are too small for words
    "limit": Value(None, quick=1, kind=int),
}
SCRIPT_NAMES = {"latin": "Latin words", "digits": "digits", "chinese": "Chinese"}
SMALL_HEIGHT, SMALL_BLUR = 24, 0.03  # at most, of crops that are small and sharp
GROUPS = {  # sharp: of the blurred crops' heights
    "all": list(CELLS),
    "blurred": [cell for cell in CELLS if cell.is_blurred],
    "sharp": [cell for cell in CELLS if cell.is_sharp],
    "small and sharp": [cell for cell in CELLS if cell.height <= SMALL_HEIGHT and cell.blur <= SMALL_BLUR],
    **{f"{height} px": [cell for cell in CELLS if cell.height == height] for height in HEIGHTS},
    **{f"blur {blur:g}": [cell for cell in CELLS if cell.blur == blur] for blur in BLURS},
    **{cell.name: [cell] for cell in CELLS},
}
HARM, MANY = 0.3, 200  # points that no group of MANY words and more should lose
FULL = 15.0  # points of the chart's darkest colour
MODES = ("named", "auto", "always")
Part = tuple[str, Sequence[str], str]  # recogniser, scripts, group


def measure(args: argparse.Namespace) -> Report:
    cv2.setNumThreads(1)
    subject = open_subject(args)
    with closing(subject.predictor):
        results = _read(args, subject)
    pooled: list[Part] = [(reader, results.scripts, "all") for reader in results.readers]
    blurred: list[Part] = [(reader, results.scripts, "blurred") for reader in results.readers]
    each = [part for whole in pooled for part in (whole, *results.parts("all")) if part[0] == whole[0]]
    tables = {
        "gap": results.gaps(blurred),
        "blurred": results.table("blurred crops", results.parts("blurred"), *MODES),
        "small_sharp": results.table("small, sharp crops", results.parts("small and sharp"), *MODES),
        "all": results.table("all crops", results.parts("all"), *MODES),
        "second_opinions": results.table("second opinions, all crops", pooled, "named", "second"),
        "second_opinions_by_script": results.table("the same by script", each, "named", "second"),
        "cells": results.table("every cell", results.parts(*(cell.name for cell in CELLS)), *MODES, "second"),
    }
    facts = {}
    for name, way in (("harmed", "second"), ("harmed_named", "named")):
        tables[f"{name}_groups"], facts[name] = _harmed(results, way)
    figures = {
        "model": [subject.name, subject.predictor.precision, subject.artefact.digest],
        "right in each cell": {
            ", ".join(key): own[:, 0].sum(axis=1).tolist() for key, own in results.found.items()
        },
    }
    facts |= {
        f"{part[0]}_{way}": f"{results.read(part, way):.0f}"
        for part in blurred
        for way in ("plain", "named", "second")
    }
    charts = {"ocr": results.chart(subject.name), "gained": results.gained(blurred)}
    return Report(figures, tables, facts, charts)


def _read(args: argparse.Namespace, subject: Subject) -> Results:
    names, scripts = args.readers.split(","), args.scripts.split(",")
    chosen = {script: words(args.data, "proof", scripts=[script], limit=args.limit) for script in scripts}
    found: dict[tuple[str, str, str], list[Any]] = {}
    with (
        shared_readers(names, scripts) as readers,
        Readings(args.work / "readings.jsonl") as readings,
        tqdm(total=len(CELLS) * len(scripts), desc="ocr", unit="cell", disable=None) as bar,
    ):
        for script, own in chosen.items():
            for cell in CELLS:
                subject = replace(subject, inferred={})  # which several ways share
                crops = [crop(word, cell, seed=args.seed) for word in own]
                treated = {way: subject.treated(crops, policy) for way, policy in POLICIES.items()}
                for reader in readers.values():
                    ways = read_in_every_way(subject, reader.for_script(script), readings, crops, treated)
                    for way, (texts, sent) in ways.items():
                        right = [is_read(one.text, word.label) for one, word in zip(texts, own, strict=True)]
                        found.setdefault((script, reader.name, way), []).append([right, sent])
                bar.update()
    return Results(names, scripts, {key: np.array(flags, bool) for key, flags in found.items()})


@dataclass(frozen=True)
class Results:
    """found: (script, recogniser, way) -> for each word in each cell, if right and if sent: (cells, 2, words)."""

    readers: Sequence[str]
    scripts: Sequence[str]
    found: Mapping[tuple[str, str, str], Flags]

    def flags(self, part: Part, way: str) -> Flags:
        reader, scripts, group = part
        places = [CELLS.index(cell) for cell in GROUPS[group]]
        return np.concatenate([self.found[script, reader, way][places] for script in scripts], axis=2)

    def points(self, part: Part, way: str) -> float:
        return 100 * float(self.flags(part, way)[:, 0].mean() - self.flags(part, "plain")[:, 0].mean())

    def change(self, part: Part, way: str) -> Difference:
        after, before = (self.flags(part, one)[:, 0].mean(axis=0) for one in (way, "plain"))
        return difference(after - before)

    def parts(self, *groups: str) -> list[Part]:
        return [(name, [script], group) for name in self.readers for script in self.scripts for group in groups]

    def table(self, title: str, parts: Sequence[Part], *ways: str) -> Table:
        """A row for each part; after second opinions the share of crops that they send."""
        rows = []
        for part in parts:
            cells = [f"{100 * self.flags(part, 'plain')[:, 0].mean():.1f}"]
            cells += [self.change(part, way).text() for way in ways]
            cells += [f"{100 * self.flags(part, way)[:, 1].mean():.0f} %" for way in ways if way == "second"]
            rows.append([_name(part), *cells])
        sent = ["crops sent"] if "second" in ways else []
        return Table(title, ["words read, %", *(WAYS[way] for way in ("plain", *ways)), *sent], rows)

    def read(self, part: Part, way: str) -> float:
        """Words of 100."""
        return 100 * float(self.flags(part, way)[:, 0].mean())

    def gaps(self, parts: Sequence[Part]) -> Table:
        """Of blurred crops: the gain, and its share of the gap to the same words sharp."""
        columns = ["words read, %", "plain crop", "recogniser named", "second opinion"]
        columns += ["sharp crop", "gap closed, named", "gap closed, second opinion"]
        rows = []
        for part in parts:
            plain, sharp = self.read(part, "plain"), self.read((*part[:2], "sharp"), "plain")
            changes = [self.change(part, way) for way in ("named", "second")]
            closed = [f"{100 * one.points / (sharp - plain):.0f} %" if sharp > plain else "" for one in changes]
            texts = [one.text() for one in changes]
            rows.append([_name(part), f"{plain:.1f}", *texts, f"{sharp:.1f}", *closed])
        return Table(
            "blurred crops, all scripts, and the share of the gap to sharp ones that is closed", columns, rows
        )

    def gained(self, parts: Sequence[Part]) -> Figure:
        """A bar for each recogniser: words read of 100 blurred crops, words gained, and words of sharp crops."""
        figure, ((axes,),) = subplots(1, 1, size=(7.2, 0.9 + 0.55 * len(parts)))
        for place, part in enumerate(reversed(parts)):
            plain, named = self.read(part, "plain"), self.read(part, "named")
            sharp = self.read((*part[:2], "sharp"), "plain")
            axes.barh(place, sharp, color="none", edgecolor=SOFT, linestyle=":", height=0.5)
            axes.barh(place, plain, color=RULE, height=0.5)
            axes.barh(place, named - plain, left=plain, color=GAIN, height=0.5)
            gain = f"{plain:.0f} → {named:.0f}"
            axes.text(sharp + 1, place, f"{gain}  (sharp: {sharp:.0f})", va="center", color=INK)
        axes.set_yticks(range(len(parts)), [_name(part) for part in reversed(parts)])
        axes.set_xlim(0, 120)
        axes.set_xticks(range(0, 101, 20))
        axes.tick_params(axis="y", length=0)
        axes.set_title("Words read of 100 blurred crops: plain → with Text Telescope", weight="bold")
        return figure

    def chart(self, model: str) -> Figure:
        """Points with the recogniser named: a row of grids for each recogniser, a column for each script."""
        shape = (len(self.readers), len(self.scripts))
        figure, axes = subplots(*shape, size=(1 + 3.2 * shape[1], 0.6 + 2.6 * shape[0]))
        figure.suptitle(f"{model}: words of 100 gained over the plain crop, recogniser named", weight="bold")
        rows, columns = [f"{height} px" for height in HEIGHTS], [f"{blur:g}" for blur in BLURS]
        for own, (reader, scripts, _) in zip(axes.flat, self.parts("all"), strict=True):
            cells = [[Cell(height, blur).name for blur in BLURS] for height in HEIGHTS]
            values = [[self.points((reader, scripts, cell), "named") for cell in row] for row in cells]
            grid(own, values, rows=rows, columns=columns, full=FULL)
            named, second = (self.points((reader, scripts, "all"), way) for way in ("named", "second"))
            own.set_title(_name((reader, scripts, "all")), weight="bold")
            own.set_xlabel(f"blur, of the height\nnamed {named:+.1f}, second opinion {second:+.1f}")
        return figure


def _name(part: Part) -> str:
    reader, scripts, group = part
    script = [SCRIPT_NAMES[scripts[0]]] if len(scripts) == 1 else []
    return ", ".join([READER_NAMES.get(reader, reader), *script, *([group] if group[0].isdigit() else [])])


def _harmed(results: Results, way: str) -> tuple[Table, str]:
    parts = [part for part in results.parts(*GROUPS) if results.flags(part, way)[:, 0].size >= MANY]
    points = [(_name((*part[:2], "all")), part[2], results.points(part, way)) for part in parts]
    rows = [[name, group, f"{value:+.1f}"] for name, group, value in points if value < -HARM]
    title = f"groups of {MANY} words and more that lose over {HARM} points, {WAYS[way]}"
    return Table(title, ["", "cells", "points"], rows), f"{len(rows)} of {len(points)}"
