"""Measures which words a recogniser reads in crops as they are, and after each treatment.

word -> crops of several cells -> plain | after each treatment -> each recogniser -> Samples, Opinions
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from model_store.blur import Estimate, estimate
from model_store.pixels import Rgb
from training.calibration.cells import CELLS, SCRIPTS, Cell, Word, crop
from training.calibration.fit import TREATMENTS, Floats, Samples, Treatment
from training.calibration.network import Network
from training.calibration.readers import SharedReader, is_read
from training.calibration.second_opinions import Opinions
from training.calibration.super_resolve import treated
from training.data.crops import sample_seed
from training.readings import Readings

CHUNK = 48  # crops whose pictures are held at once
PLAIN = Treatment(0.0, 0.0)
Drawn = tuple[int, Word, Cell]  # the word's number first
Read = tuple[bool, float]  # whether the word is right, and the recogniser's confidence
Reads = dict[Treatment, list[Read]]


def measure(
    network: Network,
    words: Sequence[Word],
    readers: Mapping[str, SharedReader],
    readings: Readings,
    *,
    draws: int,
    seed: int,
) -> tuple[Samples, dict[str, Opinions]]:
    """Each word as a crop of `draws` cells, or of every cell if there are fewer; opinions by recogniser."""
    drawn = draw(words, draws=draws, seed=seed)
    estimates: list[Estimate] = []
    found: dict[str, Reads] = {name: {} for name in readers}
    with tqdm(total=len(drawn), desc="calibrate", unit="crop", disable=None) as bar:
        for chunk in chunks(drawn):
            plain = [crop(word, cell, seed=seed) for _, word, cell in chunk]
            measured = [estimate(rgb) for rgb in plain]
            estimates += measured
            for treatment, pictures in ({PLAIN: plain} | treated(network, plain, measured)).items():
                for name, reader in readers.items():
                    read = _read(reader, pictures, [word for _, word, _ in chunk], readings)
                    found[name].setdefault(treatment, []).extend(read)
            bar.update(len(chunk))
    word = np.array([number for number, _, _ in drawn])
    script = np.array([script_of(word) for _, word, _ in drawn])
    height = np.array([float(cell.height) for _, _, cell in drawn])
    # Such that no rule chooses a crop without text:
    blur = np.array([-1.0 if own.is_blank else own.blur for own in estimates])
    noise = np.array([math.inf if own.is_blank else own.noise for own in estimates])
    samples = Samples(word, script, height, blur, noise, {name: _over_plain(own) for name, own in found.items()})
    return samples, {
        name: Opinions(word, script, height, blur, *_by_treatment(own)) for name, own in found.items()
    }


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


def _read(reader: SharedReader, pictures: Sequence[Rgb], words: Sequence[Word], readings: Readings) -> list[Read]:
    found = readings.read_with_confidence(reader.for_script(words[0].script), pictures, label=reader.name)
    return [(is_read(own.text, word.label), own.confidence) for own, word in zip(found, words, strict=True)]


def _over_plain(reads: Reads) -> dict[Treatment, Floats]:
    right = {treatment: np.array([right for right, _ in own], float) for treatment, own in reads.items()}
    return {treatment: own - right[PLAIN] for treatment, own in right.items() if treatment != PLAIN}


def _by_treatment(reads: Reads) -> tuple[Any, ...]:
    """The fields `right`, `sure`, `second_right` and `second_sure` of `Opinions`."""
    plain, *treatments = (np.array(reads[treatment]).T for treatment in (PLAIN, *TREATMENTS))
    second_right, second_sure = np.stack(treatments, axis=1)
    return plain[0].astype(bool), plain[1], second_right.astype(bool), second_sure
