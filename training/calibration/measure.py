"""Measures which words a recogniser reads in crops as they are, and after each treatment.

word -> crops of several cells -> plain | after each treatment -> each recogniser -> Samples
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from model_store.blur import Estimate, estimate
from model_store.pixels import Rgb
from training.calibration.cells import CELLS, SCRIPTS, Cell, Word, crop
from training.calibration.fit import Floats, Samples, Treatment
from training.calibration.network import Network
from training.calibration.readers import SharedReader, is_read
from training.calibration.super_resolve import treated
from training.data.crops import sample_seed
from training.readings import Readings

CHUNK = 48  # crops whose pictures are held at once
PLAIN: Treatment = (0.0, 0.0)
Drawn = tuple[int, Word, Cell]  # the word's number first
Right = dict[Treatment, list[bool]]


def measure(
    network: Network,
    words: Sequence[Word],
    readers: Mapping[str, SharedReader],
    readings: Readings,
    *,
    draws: int,
    seed: int,
) -> Samples:
    """Each word as a crop of `draws` cells, or of every cell if there are fewer."""
    drawn = draw(words, draws=draws, seed=seed)
    estimates: list[Estimate] = []
    right: dict[str, Right] = {name: {} for name in readers}
    with tqdm(total=len(drawn), desc="calibrate", unit="crop", disable=None) as bar:
        for chunk in chunks(drawn):
            plain = [crop(word, cell, seed=seed) for _, word, cell in chunk]
            found = [estimate(rgb) for rgb in plain]
            estimates += found
            for treatment, pictures in ({PLAIN: plain} | treated(network, plain, found)).items():
                for name, reader in readers.items():
                    read = _read(reader, pictures, [word for _, word, _ in chunk], readings)
                    right[name].setdefault(treatment, []).extend(read)
            bar.update(len(chunk))
    return Samples(
        word=np.array([number for number, _, _ in drawn]),
        script=np.array([script_of(word) for _, word, _ in drawn]),
        height=np.array([float(cell.height) for _, _, cell in drawn]),
        # Such that no rule chooses a crop without text:
        blur=np.array([-1.0 if found.is_blank else found.blur for found in estimates]),
        noise=np.array([math.inf if found.is_blank else found.noise for found in estimates]),
        gains={name: _over_plain(found) for name, found in right.items()},
    )


def draw(words: Sequence[Word], *, draws: int, seed: int) -> list[Drawn]:
    """Words with their cells, script by script."""
    return [
        (number, word, cell)
        for script in SCRIPTS
        for number, word in enumerate(words)
        if word.script == script
        for cell in _cells(word, draws=draws, seed=seed)
    ]


def script_of(word: Word) -> str:
    """Digits count as Latin: the same recogniser reads both."""
    return "latin" if word.script == "digits" else word.script


def _cells(word: Word, *, draws: int, seed: int) -> list[Cell]:
    rng = np.random.default_rng(sample_seed(seed, f"cells of {word.name}"))
    return [CELLS[int(place)] for place in rng.permutation(len(CELLS))[:draws]]


def chunks(drawn: Sequence[Drawn]) -> list[Sequence[Drawn]]:
    """Of one script each, because readers are opened for a script."""
    by_script = [[entry for entry in drawn if entry[1].script == script] for script in SCRIPTS]
    return [own[first : first + CHUNK] for own in by_script for first in range(0, len(own), CHUNK)]


def _read(reader: SharedReader, pictures: Sequence[Rgb], words: Sequence[Word], readings: Readings) -> list[bool]:
    texts = readings.read(reader.for_script(words[0].script), pictures, label=reader.name)
    return [is_read(text, word.label) for text, word in zip(texts, words, strict=True)]


def _over_plain(right: Right) -> dict[Treatment, Floats]:
    plain = np.array(right[PLAIN], float)
    return {treatment: np.array(read, float) - plain for treatment, read in right.items() if treatment != PLAIN}
