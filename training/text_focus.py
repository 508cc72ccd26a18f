"""What the text-focused loss knows before any framework is loaded: options, characters, confusions.

    labels  "Exit!" -> "exit-" -> encode_labels -> what the recogniser is fed and should answer
    weights confusion_62x62.csv -> weight_table: mistaking o for 0 weighs more than mistaking o for m

Source: Chen, Li, Xue, Scene Text Telescope, CVPR 2021, and the two published code bases, FudanOCR and
PaddleOCR. numpy only, so that every engine can use it.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.errors import ConfigError
from training.metrics import normalise_text

END = "-"  # ends a word, and starts the recogniser off
ALPHABET = END + "0123456789abcdefghijklmnopqrstuvwxyz"  # index = class
_INDEX = {character: index for index, character in enumerate(ALPHABET)}


@dataclass(frozen=True)
class LossConfig:
    """total = scale * (mse + attention_weight * attention + recognition_weight * recognition
                     + reader_weight * reading).

    The published code bases have no reading, and differ in the last three; `paddleocr` and `fudanocr` give theirs.
    """

    text_focus: bool = True  # False: no recogniser of the paper's needed
    attention_weight: float = 10.0
    recognition_weight: float = 0.0005
    # Published recognisers that shall read in SR what HR says (torch engine only; training.engines.torch_reading):
    # rapidocr-v6, rapidocr-v4, or the path of an ONNX file.
    readers: tuple[str, ...] = ()
    reader_weight: float = 0.03  # of pulls of length 1 or less on each picture; mse's own is about 0.0012 there
    reader_quantile: float = 0.75  # of the pulls' lengths, where they are cut; 0: each is stretched to 1
    reader_grey: bool = True  # what they ask of colour, the next recogniser does not see
    reader_soften_px: float = 0.7  # of HR; nor what is finer than 1.5 px
    # Of the label's loss, where HR itself is misread, against that of HR's reading; 0: such words teach nothing.
    reader_ctc: float = 1.0
    reader_turns: bool = True  # one reader a step, or the mean of all
    scale: float = 1.0  # FudanOCR: 100. Adam ignores it, but clipping gradients at 0.25 does not
    recogniser_dropout: bool = False  # PaddleOCR: True, since train() reaches the recogniser inside its network
    # "hr" is FudanOCR's last commit: the term is reported, yet no gradient of it reaches the network.
    recognition_of: Literal["sr", "hr"] = "sr"

    def __post_init__(self) -> None:
        for name in ("attention_weight", "recognition_weight", "reader_weight", "reader_soften_px", "reader_ctc"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 <= self.reader_quantile <= 1:
            raise ConfigError(f"reader_quantile is {self.reader_quantile}; expected 0 to 1")
        if self.scale <= 0:
            raise ConfigError(f"scale is {self.scale}; expected more than 0")
        if self.recognition_of not in ("sr", "hr"):
            raise ConfigError(f"recognition_of is {self.recognition_of!r}; expected 'sr' or 'hr'")

    @classmethod
    def paddleocr(cls) -> LossConfig:
        """As PaddleOCR trains: the recogniser's dropout is on (with `downscale_in_infer` in its layers)."""
        return cls(recogniser_dropout=True)

    @classmethod
    def fudanocr(cls) -> LossConfig:
        """As FudanOCR's published code trains: loss times 100, cross-entropy of the HR reading."""
        return cls(scale=100.0, recognition_of="hr")


@dataclass(frozen=True, eq=False)
class LabelBatch:
    """N words as the recogniser takes them; L is the longest length.

    lengths: int64 (N,), END included. inputs: int64 (N, L), the word shifted right by one, zeros after it.
    targets: int64 (sum of lengths,), the words one after another, each with its END. positions: int64, of
    the same length: where each target stands in a flattened (N, L).
    """

    lengths: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]


def encode_labels(labels: Sequence[str]) -> LabelBatch:
    """Any texts -> `LabelBatch`: lowercased, only [0-9a-z] kept, END appended. ValueError for no labels."""
    if not labels:
        raise ValueError("no labels to encode")
    words = [[_INDEX[character] for character in normalise_text(label) + END] for label in labels]
    lengths = np.array([len(word) for word in words], np.int64)
    longest = int(lengths.max())
    inputs = np.zeros((len(words), longest), np.int64)
    for row, word in zip(inputs, words, strict=True):
        row[1 : len(word)] = word[:-1]
    inside = np.arange(longest)[None, :] < lengths[:, None]
    return LabelBatch(
        lengths=lengths,
        inputs=inputs,
        targets=np.concatenate([np.array(word, np.int64) for word in words]),
        positions=np.flatnonzero(inside),
    )


@cache
def weight_table() -> npt.NDArray[np.float64]:
    """Weights of the cross-entropy: float64 (37, 37), row = true class, column = class read, > 0.

    One over the confusion figure, 1 where that is zero and for END. A row takes the small letter's
    figures; a column takes the worse of capital and small letter, but on the diagonal the capital's alone.
    That exception, and that the small letter stands for both, are the published code's.
    """
    confusion = _confusion()
    with np.errstate(divide="ignore"):
        weights = np.where(confusion == 0, 1.0, 1 / confusion)
    digits, capitals, smalls = slice(0, 10), slice(10, 36), slice(36, 62)
    rows = np.concatenate([weights[digits], weights[smalls]])  # (36, 62)
    letters = np.maximum(rows[:, capitals], rows[:, smalls])  # (36, 26)
    letters[10:][np.diag_indices(26)] = np.diagonal(weights[smalls, capitals])
    table = np.ones((len(ALPHABET), len(ALPHABET)))
    table[1:, 1:] = np.concatenate([rows[:, digits], letters], axis=1)
    table.setflags(write=False)
    return table


def _confusion() -> npt.NDArray[np.float64]:
    """(62, 62), digits, capitals, small letters. Its source and licence: confusion_62x62.NOTICE beside it."""
    file = importlib.resources.files("training") / "data" / "confusion_62x62.csv"
    with file.open(encoding="ascii") as lines:
        return np.loadtxt(lines, delimiter=",")
