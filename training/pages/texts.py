"""Loads texts.yml, the texts of rendered pages in each script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

SCRIPTS = ("latin", "chinese")


@dataclass(frozen=True)
class Texts:
    """The texts of one script; texts.yml describes the fields."""

    sentences: Sequence[str]
    labels: Sequence[str]
    spoken: Sequence[str]
    notices: Sequence[Sequence[str]]
    goods: Sequence[str]
    shops: Sequence[Sequence[str]]
    total: Sequence[str]
    closing: Sequence[str]
    columns: Sequence[str]
    joint: str


@cache
def read_texts() -> Mapping[str, Texts]:
    """By script, in the order of SCRIPTS."""
    found = yaml.safe_load((Path(__file__).parent / "texts.yml").read_text(encoding="utf-8"))
    return {script: Texts(**found[script]) for script in SCRIPTS}


def filled(pattern: str, rng: np.random.Generator) -> str:
    """The text with a random digit for each `#`."""
    return "".join(str(rng.integers(10)) if char == "#" else char for char in pattern)
