"""The text-focused loss: pixels, and the attention and logits of a recogniser.

    sr, hr ----------------------------> mse
    sr, hr -> recogniser -> attention -> attention    (position-aware: mean |a_hr - a_sr|)
    sr     -> recogniser -> logits ----> recognition  (content-aware: weighted cross-entropy)
    total = scale * (mse + 10 attention + 0.0005 recognition)

Source: Chen, Li, Xue, Scene Text Telescope, CVPR 2021; in numbers, PaddleOCR's TelescopeLoss.
`text_focus.LossConfig` lists the differences between the published code bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from training.errors import ConfigError
from training.recogniser import Recogniser, RecogniserOutput
from training.text_focus import LabelBatch, LossConfig, encode_labels, weight_table


class LossParts(NamedTuple):
    """Scalars. total is minimised; the parts are unweighted. The last two are None without text focus."""

    total: Tensor
    mse: Tensor
    attention: Tensor | None = None
    recognition: Tensor | None = None

    def floats(self) -> dict[str, float]:
        """The parts that are not None, by name, for logs."""
        return {name: float(value) for name, value in self._asdict().items() if value is not None}


class TextFocusedLoss:
    """`loss(sr, hr, labels)` -> `LossParts`.

    It is deliberately no `nn.Layer`: with the recogniser as a sublayer, train() would switch on its dropout and
    the optimiser would get its weights, as in PaddleOCR.

    Raises ConfigError for text focus with a missing recogniser or one with random weights: PaddleOCR trains with
    random weights unless its pretrained checkpoint holds the recogniser.
    """

    def __init__(self, config: LossConfig, recogniser: Recogniser | None = None) -> None:
        if config.text_focus and (recogniser is None or not recogniser.pretrained):
            have = "there is none" if recogniser is None else "its weights are random"
            raise ConfigError(
                f"text_focus needs a pretrained recogniser, and {have}: "
                "give its weights (`pretrain-recogniser` makes some), or set text_focus to false"
            )
        if config.readers:
            raise ConfigError(
                "loss.readers needs the torch engine: PP-OCR is published as ONNX, run there with gradients"
            )
        self.config = config
        self.recogniser = recogniser if config.text_focus else None
        if self.recogniser is not None:
            self.recogniser.freeze(dropout=config.recogniser_dropout)
            self._log_weights = paddle.to_tensor(np.log(weight_table()).astype(np.float32))

    def __call__(self, sr: Tensor, hr: Tensor, labels: Sequence[str]) -> LossParts:
        """sr, hr: float (N, 3, H, W), hr in [0, 1]. labels: any text, "" for mse alone."""
        mse = F.mse_loss(sr, hr)
        if self.recogniser is None:
            return LossParts(self.config.scale * mse, mse)
        known = [row for row, label in enumerate(labels) if label]  # pieces of words have no label
        if not known:
            zero = paddle.zeros([])
            return LossParts(self.config.scale * mse, mse, zero, zero)
        if len(known) < len(labels):
            sr, hr = (paddle.index_select(x, paddle.to_tensor(known)) for x in (sr, hr))
        words = encode_labels([labels[row] for row in known])
        with paddle.no_grad():  # the reading of HR is the target
            target = self.recogniser(hr, words)
        reading = self.recogniser(sr, words)
        attention = F.l1_loss(reading.attention, target.attention)
        recognition = self._recognition(reading if self.config.recognition_of == "sr" else target, words)
        weighted = self.config.attention_weight * attention + self.config.recognition_weight * recognition
        return LossParts(self.config.scale * (mse + weighted), mse, attention, recognition)

    def _recognition(self, reading: RecogniserOutput, words: LabelBatch) -> Tensor:
        return weighted_cross_entropy(reading.logits, paddle.to_tensor(words.targets), self._log_weights)


def weighted_cross_entropy(logits: Tensor, targets: Tensor, log_weights: Tensor) -> Tensor:
    """Mean over characters of -log(w[g,g] e^p[g] / sum_j w[g,j] e^p[j]), g the true class.

    logits: float (M, C). targets: int64 (M,). log_weights: float (C, C), log w, row = true class.
    Adding log w to the logits is equal in exact arithmetic, and cannot overflow like e^p in float16.
    """
    return F.cross_entropy(logits + paddle.gather(log_weights, targets), targets)
