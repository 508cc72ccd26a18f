"""A real recogniser in the loss: SR shall read like HR, to a network that other people read with.

    hr -> recogniser -> what it says at each place  --+
    sr -> recogniser -> what it says at each place  --+-> Kullback-Leibler divergence, mean over places

Each picture pulls with the same force, whatever it reads: left alone, a word that nobody can read has a thousand
times the gradient of another, and the few such words of a batch decide every step.

Only the characters of Latin text are compared: of PP-OCRv6's 18,710 classes that is 96, and scoring all of them
would cost more than the rest of the recogniser.

The published text-focused loss asks a recogniser of its own, which has to be trained first and reads less well
than today's. PP-OCR's ship inside wheels as ONNX and need no training. It needs no labels either: the reading of
HR is the target, so pieces of words teach as well. What is trained against one recogniser has to be judged by
others.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.engines.torch_onnx import OnnxModule
from training.errors import MissingExtra

WEIGHTS = {
    "rapidocr-v4": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx"),
    "rapidocr-v6": ("rapidocr", "models/PP-OCRv6_rec_small.onnx"),
}
HEIGHT = 48  # pixels; both recognisers'


class OcrLoss(nn.Module):
    """`loss(sr, hr)` -> a scalar >= 0, 0 where both read the same."""

    def __init__(self, reader: str) -> None:
        """reader: a key of WEIGHTS. Raises MissingExtra."""
        super().__init__()
        package, path = WEIGHTS[reader]
        try:
            weights = Path(str(files(package) / path))
        except ModuleNotFoundError as exc:
            raise MissingExtra(f"loss.reader {reader} needs the package {package} (extra `ocr`)") from exc
        self._recogniser = OnnxModule(weights, before_softmax=True)
        characters = self._recogniser.metadata["character"].split("\n")
        latin = [i for i, character in enumerate(characters, start=1) if character.isascii() and character.strip()]
        # class 0 is the blank between characters, the last the space
        self._recogniser.keep_outputs(torch.tensor([0, *latin, len(characters) + 1]), of=len(characters) + 2)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """sr, hr: float (N, 3, H, W) RGB in [0, 1]."""
        with torch.no_grad():
            target = self._read(hr)
        sr = _EvenForce.apply(sr)
        divergence = F.kl_div(self._read(sr), target, log_target=True, reduction="sum")
        return divergence / (target.shape[0] * target.shape[1])

    def _read(self, images: Tensor) -> Tensor:
        """Log-probabilities (N, places, classes), float32."""
        width = round(images.shape[3] * HEIGHT / images.shape[2])
        resized = F.interpolate(images, (HEIGHT, width), mode="bilinear", align_corners=False)
        bgr = (resized.flip(1) * 2 - 1).contiguous(memory_format=torch.channels_last)  # as PP-OCR is fed
        return F.log_softmax(self._recogniser(bgr).float(), dim=-1)


class _EvenForce(torch.autograd.Function):
    """The pictures as they are; backwards, each one's gradient with a Euclidean norm of 1 / N."""

    @staticmethod
    def forward(_: object, pictures: Tensor) -> Tensor:
        return pictures.view_as(pictures)

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        norms = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)
        return gradient / (len(gradient) * norms[:, None, None, None])
