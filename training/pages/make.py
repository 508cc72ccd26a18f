"""Pages as users have them, rendered and degraded, with the text and place of every line.

    for page in make_pages(find_fonts(), seed=7):
        page.name, page.kind, page.script, page.rgb, page.lines, page.fonts

    texts.yml -> kinds.py: drawn on a sheet (sheet.py) -> capture.py: screenshot, film, scan or photograph -> Page

The same seed, fonts, Pillow and OpenCV give the same pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from model_store.pixels import Rgb
from training.data.fonts import Font
from training.pages.kinds import KINDS, Maker
from training.pages.sheet import Line
from training.pages.texts import SCRIPTS


@dataclass(frozen=True, eq=False)
class Page:
    """rgb: uint8 (H, W, 3). lines: in reading order. fonts: names of those used."""

    name: str
    kind: str
    script: str
    rgb: Rgb
    lines: Sequence[Line]
    fonts: Sequence[str]


def make_pages(
    fonts: Sequence[Font],
    *,
    seed: int,
    kinds: Sequence[str] = tuple(KINDS),
    scripts: Sequence[str] = SCRIPTS,
    limit: int | None = None,
) -> Iterator[Page]:
    """The first page of each kind and script, then the second ones, and so on.

    kinds, scripts: of KINDS and SCRIPTS. limit: pages of each kind and script, at most those of KINDS. A page does
    not depend on the others. Raises DataError if no font has a text.
    """
    for index in range(limit or max(count for _, count in KINDS.values())):
        for script in scripts:
            for kind in kinds:
                make, count = KINDS[kind]
                if index < count:
                    rng = np.random.default_rng([seed, list(KINDS).index(kind), SCRIPTS.index(script), index])
                    (rgb, lines), used = make(Maker(fonts, script, rng), index)
                    name = f"{kind.replace(' ', '-')}-{script}-{index}"
                    yield Page(name, kind, script, rgb, lines, sorted(used))
