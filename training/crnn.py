"""CRNN, the recogniser of FudanOCR's and TextZoom's published evaluations, from their `.pth`.

    python -m training evaluate ... --ocr crnn:crnn.pth

    crop -> bicubic to 100x32 -> grey -> 7 convolutions -> 26 places -> 2 bidirectional LSTMs -> CTC -> text

Shi, Bai, Yao, An End-to-End Trainable Neural Network for Image-based Sequence Recognition, TPAMI 2017;
parameter names, input and alphabet are as in the published weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import paddle
from paddle import Tensor, nn

from model_store.pixels import Nchw, Rgb
from training.checkpoint import set_weights
from training.convert import rename
from training.published import read_published
from training.text_focus import ALPHABET

SIZE = (100, 32)  # width, height; every crop is stretched to this size
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
CHANNELS = (64, 128, 256, 256, 512, 512, 512)
NORMALISED = (2, 4, 6)  # convolutions followed by a batch normalisation
BATCH_SIZE = 64  # crops at a time, to bound memory
BLANK = 0  # of CTC; the other classes are those of ALPHABET, 0-9 and a-z from 1 on
DIRECTIONS = {"": "fw", "_reverse": "bw"}  # suffix of PyTorch's LSTM names -> cell of Paddle's


class Crnn:
    """A `TextReader` with published weights. Raises UnreadableCheckpoint or KeyMismatch."""

    name = "crnn"

    def __init__(self, weights: Path) -> None:
        published = read_published(weights)
        self.version = published.sha256[:12]
        self.network = CrnnNetwork()
        renamed = rename(published.weights, self.network, layout="fudanocr")
        live = {_cell(name): value for name, value in renamed.items() if not name.endswith("batches_tracked")}
        set_weights(self.network, live, origin=str(weights))
        self.network.eval()

    def read(self, crops: Sequence[Rgb]) -> list[str]:
        return [
            _text(classes)
            for start in range(0, len(crops), BATCH_SIZE)
            for classes in self.logits(grey_inputs(crops[start : start + BATCH_SIZE])).argmax(-1)
        ]

    @paddle.no_grad()
    def logits(self, inputs: Nchw) -> np.ndarray:
        """float32 (N, 1, 32, 100) -> (N, 26, 37)."""
        logits: np.ndarray = self.network(paddle.to_tensor(inputs)).numpy()
        return logits


def grey_inputs(crops: Sequence[Rgb]) -> Nchw:
    """uint8 (H, W, 3) RGB of any size -> float32 (N, 1, 32, 100), about [0, 1]: bicubic can overshoot.

    OpenCV's bicubic equals PyTorch's `interpolate`: a = -0.75, half-pixel centres, no antialiasing.
    """
    stretched = (cv2.resize(crop.astype(np.float32) / 255, SIZE, interpolation=cv2.INTER_CUBIC) for crop in crops)
    return np.stack([picture @ GREY for picture in stretched])[:, None]


class CrnnNetwork(nn.Layer):
    """float32 (N, 1, 32, 100) -> logits (N, 26, 37)."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(*_convolutions())
        self.rnn = nn.Sequential(_Recurrent(CHANNELS[-1], 256), _Recurrent(256, len(ALPHABET)))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.rnn(self.cnn(x).squeeze(2).transpose([0, 2, 1]))
        return logits


class _Recurrent(nn.Layer):
    """float (N, T, inputs) -> (N, T, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.rnn = nn.BiRNN(nn.LSTMCell(inputs, 256), nn.LSTMCell(inputs, 256))  # nn.LSTM names each weight twice
        self.embedding = nn.Linear(2 * 256, outputs)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.embedding(self.rnn(x)[0])
        return logits


def _convolutions() -> list[tuple[str, nn.Layer]]:
    # The last two poolings halve the height alone, so that 26 places remain for narrow letters.
    poolings = {0: nn.MaxPool2D(2), 1: nn.MaxPool2D(2)} | {i: nn.MaxPool2D(2, (2, 1), (0, 1)) for i in (3, 5)}
    layers: list[tuple[str, nn.Layer]] = []
    for i, (before, after) in enumerate(zip((1, *CHANNELS), CHANNELS, strict=False)):
        last = i == len(CHANNELS) - 1
        layers.append((f"conv{i}", nn.Conv2D(before, after, 2 if last else 3, padding=0 if last else 1)))
        if i in NORMALISED:
            layers.append((f"batchnorm{i}", nn.BatchNorm2D(after)))
        layers.append((f"relu{i}", nn.ReLU()))
        if i in poolings:
            layers.append((f"pooling{i}", poolings[i]))
    return layers


def _cell(name: str) -> str:
    """`rnn.0.rnn.bias_hh_l0_reverse` -> `rnn.0.rnn.cell_bw.bias_hh`; other names stay."""
    return re.sub(r"(\w+)_l0(_reverse)?$", lambda m: f"cell_{DIRECTIONS[m[2] or '']}.{m[1]}", name)


def _text(classes: Sequence[int]) -> str:
    """The likeliest class at each place -> text: repetitions merged, blanks dropped."""
    return "".join(ALPHABET[c] for c, _ in groupby(classes) if c != BLANK)
