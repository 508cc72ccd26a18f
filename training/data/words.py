"""Random words for rendering: from a list, or made up from letter and digit patterns.

words = load_words(Path("words.txt"))
text = random_word(rng, words=words)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.errors import DataError

_ONSETS = (*"bcdfghjklmnprstvwyz", "br", "ch", "cl", "dr", "fl", "gr", "pl", "pr", "qu", "sh", "sp", "st",
           "th", "tr")  # fmt: skip
_VOWELS = (*"aeiouaeiou", "ai", "ea", "ee", "ie", "oo", "ou")
_CODAS = ("", "", "", *"bcdklmnprstx", "ck", "ll", "nd", "ng", "nt", "rd", "rt", "ss", "st", "th")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Digits in the shapes signs carry: counts, years, prices, times, telephone numbers, house numbers.
_DIGIT_PATTERNS = ("#", "##", "###", "####", "20##", "19##", "$#.##", "#.##", "##:##", "##%", "####-####",
                   "##########", "#,###", "##A", "No.##")  # fmt: skip
_MIXED_PATTERNS = ("@@####", "@@@###", "@##", "@#", "##@@###", "@-##", "###@")


def load_words(path: Path) -> tuple[str, ...]:
    """Words of a text file, one a line, blank lines left out; DataError when it is missing or empty."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"cannot read the word list {path}: {exc}") from exc
    words = tuple(line.strip() for line in lines if line.strip())
    if not words:
        raise DataError(f"the word list {path} holds no word")
    return words


def random_word(rng: np.random.Generator, *, words: Sequence[str] | None = None) -> str:
    """One word as it may stand on a sign: 75 % letters, 15 % digits, 10 % mixed; three cases.

    With a list, the letters are one of its words and keep the other shares. ASCII unless the list is not.
    """
    kind = rng.random()
    if kind < 0.15:
        return _fill(_pick(rng, _DIGIT_PATTERNS), rng)
    if kind < 0.25:
        return _fill(_pick(rng, _MIXED_PATTERNS), rng)
    word = _pick(rng, words) if words else _made_up(rng)
    case = rng.random()
    if case < 0.45:  # signs shout: capitals are near half of what word data sets hold
        return word.upper()
    return word.capitalize() if case < 0.75 else word.lower()


def _made_up(rng: np.random.Generator) -> str:
    if rng.random() < 0.2:  # no language at all, so that no letter sequence stays unseen
        return "".join(_pick(rng, _LETTERS) for _ in range(int(rng.integers(2, 9))))
    syllables = rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15])  # scene words have 5 letters on average
    parts = (_pick(rng, group) for _ in range(int(syllables)) for group in (_ONSETS, _VOWELS, _CODAS))
    return "".join(parts)


def _fill(pattern: str, rng: np.random.Generator) -> str:
    slots = {"#": "0123456789", "@": _LETTERS.upper()}
    return "".join(_pick(rng, slots[char]) if char in slots else char for char in pattern)


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
