"""Words of several scripts, made up from letters, syllables and characters, so that no word list is needed.

Chinese characters, kanji and Korean syllables come from the national standards for everyday
text, through Python's codecs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True)
class Alphabet:
    """Parts of syllables; letters: the whole alphabet, for random strings."""

    onsets: tuple[str, ...]
    vowels: tuple[str, ...]
    codas: tuple[str, ...]
    letters: str


LATIN = Alphabet(
    onsets=(*"bcdfghjklmnprstvwyz", "br", "ch", "cl", "dr", "fl", "gr", "pl", "pr", "qu", "sh", "sp", "st",
            "th", "tr"),
    vowels=(*"aeiouaeiou", "ai", "ea", "ee", "ie", "oo", "ou"),
    codas=("", "", "", *"bcdklmnprstx", "ck", "ll", "nd", "ng", "nt", "rd", "rt", "ss", "st", "th"),
    letters="abcdefghijklmnopqrstuvwxyz",
)  # fmt: skip
RUSSIAN = Alphabet(
    onsets=(*"бвгджзклмнпрстфхцчшщ", "бр", "вл", "гр", "др", "кр", "пл", "пр", "св", "сл", "ст", "тр", ""),
    vowels=(*"аеиоуаеио", *"ыэюяё", "ий", "ой"),
    codas=("", "", "", *"вдйклмнрстхш", "ль", "нь", "ть", "ск", "ст", "нт", "рт"),
    letters="абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
)
UKRAINIAN = Alphabet(
    onsets=(*"бвгґджзклмнпрстфхцчшщ", "в'", "гр", "кр", "пр", "ст", "тр", ""),
    vowels=(*"аеиіоуєїюя", "ий", "ів"),
    codas=RUSSIAN.codas,
    letters="абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
)
SERBIAN = Alphabet(
    onsets=(*"бвгдђжзјклљмнњпрстћфхцчџш", "гр", "пр", "ст"),
    vowels=tuple("аеиоуаеио"),
    codas=("", "", "", *"вдјклмнрсћш"),
    letters="абвгдђежзијклљмнњопрстћуфхцчџш",
)
GREEK = Alphabet(
    onsets=(*"βγδζθκλμνξπρστφχψ", "γκ", "μπ", "ντ", "πρ", "στ", "τρ", "χρ", ""),
    vowels=(*"αεηιουωαειο", *"άέήίόύώ", "αι", "ει", "οι", "ου", "αυ", "ευ", "ού", "εί"),
    codas=("", "", "", "ς", "ς", "ν", "ρ", "λ"),  # lower() and upper() know where a final sigma stands
    letters="αβγδεζηθικλμνξοπρστυφχψωάέήίόύώϊϋ",
)
CYRILLIC = (RUSSIAN, RUSSIAN, UKRAINIAN, SERBIAN)  # Russian is the most common

# One language each: German, French, Spanish, Portuguese, Italian, Swedish, Danish, Icelandic, Polish, Czech,
# Hungarian, Romanian, Turkish, Croatian, Latvian.
ACCENTED = ("äöüß", "éèêëàâçîïôûùœ", "áéíóúñü", "ãõáâéêçó", "àèéìòù", "åäö", "æøå", "ðþæáéíóúýö", "ąćęłńóśźż",
            "áčďéěíňóřšťúůýž", "áéíóöőúüű", "ăâîșț", "çğışöü", "čćđšž", "āčēģīķļņšūž")  # fmt: skip
_BASES = {"ß": "s", "œ": "o", "æ": "a", "ø": "o", "ð": "d", "þ": "t", "ł": "l", "ı": "i", "đ": "d"}

HIRAGANA = "".join(map(chr, range(ord("ぁ"), ord("ん") + 1)))
KATAKANA = "".join(map(chr, range(ord("ァ"), ord("ン") + 1))) + "ーー"  # long vowels are common


def made_up(rng: Rng, alphabet: Alphabet) -> str:
    """A lower-case word of one to three syllables, or one time in five a string of any letters."""
    if rng.random() < 0.2:  # random letters, so that no letter sequence stays unseen
        return "".join(pick(rng, alphabet.letters) for _ in range(int(rng.integers(2, 9))))
    syllables = rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15])  # scene words have 5 letters on average
    groups = (alphabet.onsets, alphabet.vowels, alphabet.codas)
    return "".join(pick(rng, group) for _ in range(int(syllables)) for group in groups)


def accented(word: str, rng: Rng) -> str:
    """The lower-case word with about half the letters accented that can be in one European language."""
    by_base: dict[str, str] = {}
    for letter in pick(rng, ACCENTED):
        base = _BASES.get(letter) or unicodedata.normalize("NFD", letter)[0]
        by_base[base] = by_base.get(base, "") + letter
    at = [i for i, char in enumerate(word) if char in by_base]
    chosen = {i for i in at if rng.random() < 0.5} or set(at[:1])
    return "".join(pick(rng, by_base[char]) if i in chosen else char for i, char in enumerate(word))


def chinese(rng: Rng) -> str:
    """1 to 6 simplified characters of GB 2312's first level, the 3,755 of everyday text."""
    return _string(rng, _characters("gb2312", 0xD7), 1, 6)


def japanese(rng: Rng) -> str:
    """1 to 6 characters: kanji (JIS X 0208's first level, 2,965) with or without an ending, katakana, hiragana."""
    kind, kanji = rng.random(), _characters("euc_jp", 0xCF)
    if kind < 0.35:
        return _string(rng, kanji, 1, 4)
    if kind < 0.6:
        return _string(rng, kanji, 1, 3) + _string(rng, HIRAGANA, 1, 3)
    return _string(rng, KATAKANA if kind < 0.8 else HIRAGANA, 2, 6)


def korean(rng: Rng) -> str:
    """1 to 5 of the 2,350 syllables of KS X 1001."""
    return _string(rng, _characters("euc_kr", 0xC8), 1, 5)


CHARACTERS: dict[str, Callable[[Rng], str]] = {"chinese": chinese, "japanese": japanese, "korean": korean}


@lru_cache(maxsize=3)
def _characters(codec: str, last_row: int) -> str:
    """The characters from row 0xB0 on, in all three standards the most common ones."""
    cells = (bytes([row, cell]) for row in range(0xB0, last_row + 1) for cell in range(0xA1, 0xFF))
    return "".join(cell.decode(codec, errors="ignore") for cell in cells)


def _string(rng: Rng, characters: str, least: int, most: int) -> str:
    return "".join(pick(rng, characters) for _ in range(int(rng.integers(least, most + 1))))


def pick(rng: Rng, choices: Sequence[str]) -> str:
    """One of the choices, each as likely."""
    return choices[int(rng.integers(len(choices)))]
