"""Settings, characters and confusion weights of the text-focused loss, without a framework.

    labels  "Exit!" -> "exit-" -> encode_labels -> inputs and targets of the recogniser
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

END = "-"  # ends a word, and is the first input of the recogniser
ALPHABET = END + "0123456789abcdefghijklmnopqrstuvwxyz"  # index = class
_INDEX = {character: index for index, character in enumerate(ALPHABET)}


@dataclass(frozen=True)
class LossConfig:
    """total = scale * (mse + attention_weight * attention + recognition_weight * recognition
                     + reader_weight * reading).

    The published code bases have no `reading` and differ in the last three settings: see `paddleocr`, `fudanocr`.
    """

    text_focus: bool = True  # False: the paper's recogniser is not needed
    attention_weight: float = 10.0
    recognition_weight: float = 0.0005
    # Published recognisers whose readings of SR are to equal those of HR (torch engine only; see
    # training.engines.torch_reading): rapidocr-v6, rapidocr-v4, or the path of an ONNX file.
    readers: tuple[str, ...] = ()
    reader_weight: float = 0.03  # of gradients of length 1 or less per picture; that of mse is about 0.0012
    reader_quantile: float = 0.75  # of the gradients' lengths, where they are clipped; 0: normalise each to 1
    # Gradients are made grey and blurred: changes of colour and of finer details help no other recogniser.
    reader_grey: bool = True
    reader_soften_px: float = 0.7
    # Weight of the label's loss for words misread in HR, relative to that of HR's reading; 0: ignore such words.
    reader_ctc: float = 1.0
    reader_turns: bool = True  # True: one reader per step; False: the mean of all
    scale: float = 1.0  # FudanOCR: 100. It changes the clipping of gradients at 0.25, but not Adam
    recogniser_dropout: bool = False  # PaddleOCR: True, because train() reaches the recogniser inside its network
    # "hr" as in FudanOCR's last commit: the term is reported, but gives the network no gradient.
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
        """PaddleOCR's settings: the recogniser's dropout is on (with `downscale_in_infer` in its layers)."""
        return cls(recogniser_dropout=True)

    @classmethod
    def fudanocr(cls) -> LossConfig:
        """FudanOCR's published settings: loss times 100, cross-entropy of the reading of HR."""
        return cls(scale=100.0, recognition_of="hr")


@dataclass(frozen=True, eq=False)
class LabelBatch:
    """N words as inputs and targets of the recogniser; L is the longest length.

    lengths: int64 (N,), END included. inputs: int64 (N, L), the word shifted right by one, zeros after it.
    targets: int64 (sum of lengths,), the words one after another, each with its END. positions: int64
    (sum of lengths,), the index of each target in a flattened (N, L).
    """

    lengths: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]


def encode_labels(labels: Sequence[str]) -> LabelBatch:
    """Encode texts: lowercase, keep only [0-9a-z], append END. Raises ValueError for no labels."""
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

    The weight is 1 / confusion, and 1 for zero confusion and for END. A row takes the figures of the small letter.
    A column takes the larger weight of capital and small letter, but on the diagonal always the capital's.
    These choices are the published code's.
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
    """(62, 62): digits, capitals, small letters. confusion_62x62.NOTICE names source and licence."""
    file = importlib.resources.files("training") / "data" / "confusion_62x62.csv"
    with file.open(encoding="ascii") as lines:
        return np.loadtxt(lines, delimiter=",")
