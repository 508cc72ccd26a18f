"""Random words and short lines for rendering: from a list, or made up from letter and digit patterns.

words = load_words(Path("words.txt"))
text = random_word(rng, words=words)
text = random_text(rng, script="greek")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.data.scripts import CHARACTERS, CYRILLIC, GREEK, LATIN, accented, made_up, pick
from training.errors import ConfigError, DataError

SCRIPTS = ("latin", "accents", "cyrillic", "greek", "chinese", "japanese", "korean")
# Marks around a word, by script; "latin" stays ASCII.
_ASCII_MARKS = (
    "{}.",
    "{},",
    "{}!",
    "{}?",
    "{}:",
    "{};",
    "({})",
    '"{}"',
    "'{}'",
    "{}-",
    "&{}",
    "#{}",
    "@{}",
    "*{}",
)
_MARKS = {
    "latin": _ASCII_MARKS,
    "accents": (*_ASCII_MARKS, "„{}“", "“{}”", "«{}»", "{}…"),
    "cyrillic": (*_ASCII_MARKS[:8], "«{}»", "„{}“", "№{}", "{}…"),
    "greek": (*_ASCII_MARKS[:7], "«{}»", "{}·"),
    "chinese": ("{}。", "{}，", "{}！", "{}？", "{}：", "《{}》", "“{}”", "（{}）"),
    "japanese": ("{}。", "{}、", "{}！", "{}？", "「{}」", "『{}』", "（{}）", "・{}"),
    "korean": (*_ASCII_MARKS[:8], "‘{}’"),
}
# Digits in the shapes signs carry: counts, years, prices, times, telephone numbers, house numbers.
_DIGIT_PATTERNS = ("#", "##", "###", "####", "20##", "19##", "$#.##", "#.##", "##:##", "##%", "####-####",
                   "##########", "#,###", "##A", "No.##")  # fmt: skip
_BARE_GREEK = str.maketrans("ΆΈΉΊΌΎΏ", "ΑΕΗΙΟΥΩ")  # Greek capitals drop their accents
_LONGEST = 8  # characters of Chinese, Japanese and Korean: more make a crop too wide
_MIXED_PATTERNS = ("@@####", "@@@###", "@##", "@#", "##@@###", "@-##", "###@")


def load_words(path: Path) -> tuple[str, ...]:
    """Words of a text file, one a line, blank lines left out; DataError when it is missing or empty."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"cannot read the word list {path}: {exc}") from exc
    words = tuple(line.strip() for line in lines if line.strip())
    if not words:
        raise DataError(f"the word list {path} holds no word")
    return words


def random_word(rng: np.random.Generator, *, words: Sequence[str] | None = None) -> str:
    """One word as it may stand on a sign: 75 % letters, 15 % digits, 10 % mixed; three cases.

    words: a list for the words of letters. ASCII if the list is.
    """
    kind = rng.random()
    if kind < 0.15:
        return _fill(pick(rng, _DIGIT_PATTERNS), rng)
    if kind < 0.25:
        return _fill(pick(rng, _MIXED_PATTERNS), rng)
    word = pick(rng, words) if words else made_up(rng, LATIN)
    return _cased(word, rng)


def random_text(rng: np.random.Generator, *, script: str, words: Sequence[str] | None = None) -> str:
    """A word or, 30 % of the time, a short line of two or three words with spaces between, in one of SCRIPTS.

    words: a list of Latin words, used for "latin" and, with accents added, for "accents". Digits and marks
    occur in every script; Chinese, Japanese and Korean hold 1 to 8 characters and sometimes a Latin word
    among them. ConfigError lists the scripts if `script` is unknown.
    """
    if script not in SCRIPTS:
        raise ConfigError(f"no script {script!r}; there are: {', '.join(SCRIPTS)}")
    count = int(rng.integers(2, 4)) if rng.random() < 0.3 else 1
    text = " ".join(_piece(rng, script, words, first=i == 0) for i in range(count))
    if script in CHARACTERS and len(text) > _LONGEST:
        text = text[:_LONGEST].rstrip()
    # Marks last, else a cut leaves brackets open.
    return pick(rng, _MARKS[script]).format(text) if rng.random() < 0.15 else text


def _piece(rng: np.random.Generator, script: str, words: Sequence[str] | None, *, first: bool) -> str:
    if script == "latin" or (not first and rng.random() < 0.2):
        return random_word(rng, words=words)  # numbers and Latin names occur in every script
    if script in CHARACTERS:
        return CHARACTERS[script](rng) + (
            _fill("##"[: int(rng.integers(1, 3))], rng) if rng.random() < 0.1 else ""
        )
    if script == "accents":
        return _cased(accented((pick(rng, words) if words else made_up(rng, LATIN)).lower(), rng), rng)
    return _cased(made_up(rng, GREEK if script == "greek" else CYRILLIC[int(rng.integers(len(CYRILLIC)))]), rng)


def _cased(word: str, rng: np.random.Generator) -> str:
    case = rng.random()
    if case < 0.45:  # capitals are nearly half of the words in data sets
        return word.upper().translate(_BARE_GREEK)
    return word.capitalize() if case < 0.75 else word.lower()


def _fill(pattern: str, rng: np.random.Generator) -> str:
    slots = {"#": "0123456789", "@": LATIN.letters.upper()}
    return "".join(pick(rng, slots[char]) if char in slots else char for char in pattern)
