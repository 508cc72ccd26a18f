"""Errors of a page's reading: detected boxes are matched to true lines, and their texts compared.

    matches(lines, boxes) -> for each box its line, or None
    errors(lines, found, boxes, texts) -> wrong characters of each line, and the ones of text beside every line

A box belongs to the line with which it shares most of its area, if that is a quarter of the smaller one: lines are
bounded by their ink, and detectors add a margin. The texts of the boxes of one line are joined from left to right.
White space does not count, and full-width letters and marks equal the ordinary ones (NFKC). A line without a box
costs all of its characters; so does text beside every line.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from rapidfuzz.distance import Levenshtein

from training.pages.sheet import Line, Quad

SHARE = 0.25  # of the smaller area, box or line


@dataclass(frozen=True)
class Errors:
    """lines: wrong, missing and added characters of each line. beside: characters that belong to no line."""

    lines: Sequence[int]
    beside: int

    @property
    def total(self) -> int:
        return sum(self.lines) + self.beside


def comparable(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())


def matches(lines: Sequence[Line], boxes: Sequence[Quad]) -> list[int | None]:
    """The number of each box's line."""
    found: list[int | None] = []
    for box in boxes:
        shared = [_shared(box, line.quad) for line in lines]
        best = int(np.argmax([area for area, _ in shared])) if shared else 0
        found.append(best if shared and shared[best][1] >= SHARE else None)
    return found


def _shared(box: Quad, line: Quad) -> tuple[float, float]:
    """The common area in pixels, and as a share of the smaller one."""
    ours, theirs = box.astype(np.float32), line.astype(np.float32)
    area, _ = cv2.intersectConvexConvex(ours, theirs)
    smaller = min(cv2.contourArea(ours), cv2.contourArea(theirs))
    return area, area / smaller if smaller else 0.0


def joined(count: int, found: Sequence[int | None], boxes: Sequence[Quad], texts: Sequence[str]) -> list[str]:
    """The text read for each of `count` lines."""
    parts: list[list[tuple[float, str]]] = [[] for _ in range(count)]
    for line, box, text in zip(found, boxes, texts, strict=True):
        if line is not None:
            parts[line].append((float(box[:, 0].mean()), text))
    return [" ".join(text for _, text in sorted(own)) for own in parts]


def errors(
    lines: Sequence[Line], found: Sequence[int | None], boxes: Sequence[Quad], texts: Sequence[str]
) -> Errors:
    """found: as `matches` gives it. texts: the reading of each box."""
    read = joined(len(lines), found, boxes, texts)
    wrong = [distance(line.text, text) for line, text in zip(lines, read, strict=True)]
    return Errors(
        wrong, sum(len(comparable(text)) for line, text in zip(found, texts, strict=True) if line is None)
    )


def distance(truth: str, text: str) -> int:
    return int(Levenshtein.distance(comparable(truth), comparable(text)))
