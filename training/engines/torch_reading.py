"""The reading loss: published recognisers should read SR as they read HR.

    SR, HR -> grey, blurred, cropped to the word, 48 px high -> recogniser -> log-probabilities at each place
           -> loss of each row: CTC of its label if HR is misread, else divergence from HR's reading
           -> its gradient at SR, clipped at a running quantile of the rows' norms, over N

The gradient is taken at a detached SR and weighted afterwards, so `loss.reader_weight` is its true weight. It is
clipped but never scaled up: a word that is read already has a gradient a hundred thousand times smaller.

The gradients of two recognisers agree little: most of each is colour, or patterns finer than 1.5 px. In grey and
blurred by 0.7 px, gradients have neither, and HR is read as well (80 and 77 % of 96 words; 81 and 75 without).

The published text-focused loss needs its own recogniser, which must be trained first and reads less well than
PP-OCR's, which are in Python wheels as ONNX. Evaluate with other recognisers than the loss has.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.samples import BASIC_PLANE, Batch, code_points
from training.engines.torch_ctc import ctc, reads
from training.engines.torch_onnx import OnnxModule
from training.engines.torch_views import gaussian, look_at, soften
from training.errors import ConfigError
from training.optional import needs
from training.text_focus import LossConfig

WEIGHTS = {
    "rapidocr-v4": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx"),
    "rapidocr-v6": ("rapidocr", "models/PP-OCRv6_rec_small.onnx"),
}
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
LATIN_END = 0x250  # code points below are Latin letters, with and without accents, digits and punctuation
FOLLOWED = 0.02  # share of each batch in the running quantile
RAISED = 64.0  # factor on the losses, else their gradients underflow in float16


@dataclass(frozen=True, eq=False)
class Words:
    """Text of N images and its place, on their device.

    codes: int (N, LONGEST), Unicode code points of the whole word, 0 after its end; all 0 if unknown.
    whole: bool (N,), the image shows the whole word. boxes: float32 (N, 4), left, top, right, bottom of the text
    in pixels of HR. sharp: bool (N,), HR is no enlarged LR. latin: number of Latin rows, which come first.
    """

    codes: Tensor
    whole: Tensor
    boxes: Tensor
    sharp: Tensor
    latin: int

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> Words:
        targets = batch.reading_targets
        return cls(
            codes=torch.from_numpy(code_points(targets.texts)).to(device),
            whole=torch.tensor([bool(label) for label in batch.labels], device=device),
            boxes=torch.from_numpy(targets.boxes).to(device),
            sharp=torch.from_numpy(targets.sharp).to(device),
            latin=targets.latin,
        )


class Reader(nn.Module):
    """A recogniser whose input gets gradients.

    name: a key of WEIGHTS, or the path of an ONNX file of PP-OCR's kind.
    every_script: score all of its characters too (18,708 in PP-OCRv6), not only the Latin ones.
    dtype: float16 for GPUs; in bfloat16 PP-OCRv4 misreads one word in twenty more.
    Raises MissingExtra for a key whose package is missing, ConfigError for a missing file.
    """

    tables: Tensor

    def __init__(self, name: str, *, every_script: bool = False, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        path, self.dtype = _weights(name), dtype
        self.name = {Path(file).name: key for key, (_, file) in WEIGHTS.items()}.get(path.name, path.stem)
        self.alphabets: list[str] = []  # class 0 is the blank between characters
        networks, tables = [], []
        for every in (False, True)[: 1 + every_script]:
            network = OnnxModule(path, before_softmax=True)
            if "character" not in network.metadata:
                raise ConfigError(f"{path} names no characters; expected a recogniser exported by PP-OCR")
            known = network.metadata["character"].split("\n")
            kept = [i for i, one in enumerate(known) if every or (len(one) == 1 and ord(one) < LATIN_END)]
            network.keep_outputs(torch.tensor([0, *(i + 1 for i in kept), len(known) + 1]), of=len(known) + 2)
            letters = (known[i] if len(known[i]) == 1 else "\ufffd" for i in kept)
            self.alphabets.append("\0" + "".join(letters) + " ")
            networks.append(network.to(dtype))
            tables.append(_table(self.alphabets[-1]))
        self.networks = nn.ModuleList(networks)
        self.register_buffer("tables", torch.stack(tables), persistent=False)

    def forward(self, views: Tensor, *, every_script: bool = False) -> Tensor:
        """views: float32 (N, 3, 48, W) RGB in [0, 1] -> log-probabilities float32 (N, places, classes)."""
        network, exact = self.networks[every_script], self.dtype == torch.float32
        bgr = (views.flip(1) * 2 - 1).to(self.dtype).contiguous(memory_format=torch.channels_last)
        with contextlib.nullcontext() if exact else torch.autocast(views.device.type, enabled=False):
            return F.log_softmax(network(bgr).float(), dim=-1)

    def classes(self, codes: Tensor, *, every_script: bool = False) -> Tensor:
        """Classes of code points (N, L); 0 for none and for an unknown one."""
        return self.tables[int(every_script)][codes.long()]

    def compile_networks(self) -> None:
        """Compile for the next shapes: takes minutes, and saves memory traffic afterwards."""
        compiled: Any = [torch.compile(network, dynamic=False) for network in self.networks]
        self.networks = nn.ModuleList(compiled)

    @torch.no_grad()
    def texts(self, views: Tensor) -> list[str]:
        """The text of each view, in the larger alphabet if there are two."""
        best = self(views, every_script=len(self.networks) > 1).argmax(-1).tolist()
        alphabet = self.alphabets[-1]
        rows = (zip(row, [0, *row], strict=False) for row in best)
        return ["".join(alphabet[now] for now, before in row if now and now != before) for row in rows]


class ReadingLoss(nn.Module):
    """`loss(sr, hr, words, turn)` -> a scalar with the mean of the rows' losses, and the clipped gradient."""

    limits: Tensor
    softening: Tensor
    luma: Tensor

    def __init__(self, config: LossConfig, *, every_script: bool, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self._config = config
        readers = [Reader(name, every_script=every_script, dtype=dtype) for name in config.readers]
        self.readers = nn.ModuleList(readers)
        self.register_buffer("limits", torch.zeros(len(readers)))  # 0 before the first step
        self.register_buffer("luma", torch.tensor(LUMA)[None, :, None, None], persistent=False)
        self.register_buffer("softening", gaussian(config.reader_soften_px), persistent=False)

    def forward(self, sr: Tensor, hr: Tensor, words: Words, *, turn: int) -> Tensor:
        """sr, hr: float32 (N, 3, H, W) in [0, 1]. turn: the step, which chooses the reader if they alternate."""
        count = len(self.readers)
        chosen = [turn % count] if self._config.reader_turns else range(count)
        total = sr.new_zeros(())
        for index in chosen:
            value, pull = self._pull(index, sr, hr, words)
            steered = (pull * sr).sum()
            total = total + value + (steered - steered.detach())
        return total / len(chosen)

    def _pull(self, index: int, sr: Tensor, hr: Tensor, words: Words) -> tuple[Tensor, Tensor]:
        config, at = self._config, sr.detach().requires_grad_()
        losses = self._losses(index, at, hr, words)
        (gradient,) = torch.autograd.grad(RAISED * losses.sum(), at)
        gradient = (gradient / RAISED).nan_to_num(0.0, 0.0, 0.0)
        lengths = gradient.flatten(1).norm(dim=1)
        if config.reader_quantile:
            found = lengths.sort().values[int(config.reader_quantile * (len(lengths) - 1))]
            limit = self.limits[index]
            limit.copy_(torch.where(limit > 0, limit.lerp(found, FOLLOWED), found))
            lengths = torch.maximum(lengths, limit)
        pull = gradient / (len(gradient) * lengths.clamp_min(1e-12))[:, None, None, None]
        return losses.detach().mean(), pull

    def _losses(self, index: int, sr: Tensor, hr: Tensor, words: Words) -> Tensor:
        """(N,): loss of each row, 0 if the reader lacks the script."""
        parts = []
        for rows, every_script in ((slice(0, words.latin), False), (slice(words.latin, len(sr)), True)):
            if rows.start == rows.stop:
                continue
            with torch.no_grad():
                target = self._read(index, hr[rows], words.boxes[rows], every_script)
            reading = self._read(index, sr[rows], words.boxes[rows], every_script)
            parts.append(self._lesson(index, reading, target, words, rows, every_script))
        return torch.cat(parts)

    def _lesson(
        self, index: int, reading: Tensor, target: Tensor, words: Words, rows: slice, every_script: bool
    ) -> Tensor:
        reader, codes = self._reader(index), words.codes[rows]
        ids = reader.classes(codes, every_script=every_script)
        known = (codes[:, 0] > 0) & ((ids > 0) | (codes == 0)).all(1)
        unspaced = (codes != ord(" ")).all(1)  # not all readers return the spaces of a line
        spelt = known & words.whole[rows] & unspaced
        follows = F.kl_div(reading, target, log_target=True, reduction="none").sum(-1).mean(-1)
        by_label = self._config.reader_ctc * ctc(reading, ids) / reading.shape[1]
        taught_by_label = spelt & (~reads(target, ids) | ~words.sharp[rows])
        follows = torch.where(known & words.sharp[rows], follows, 0.0)
        return torch.where(taught_by_label, by_label, follows)

    def _read(self, index: int, pictures: Tensor, boxes: Tensor, every_script: bool) -> Tensor:
        if self._config.reader_grey:
            pictures = (pictures * self.luma).sum(1, keepdim=True)
        soft = soften(pictures, self.softening)
        views = look_at(soft, boxes).expand(-1, 3, -1, -1)
        read: Tensor = self._reader(index)(views, every_script=every_script)
        return read

    def _reader(self, index: int) -> Reader:
        reader = self.readers[index]
        assert isinstance(reader, Reader)
        return reader


def _table(alphabet: str) -> Tensor:
    """int64 (65536,): the class of each code point, 0 for none."""
    table = np.zeros(BASIC_PLANE, np.int64)
    for number, character in enumerate(alphabet):
        if number and ord(character) < BASIC_PLANE and not table[ord(character)]:
            table[ord(character)] = number
    return torch.from_numpy(table)


def _weights(name: str) -> Path:
    if name in WEIGHTS:
        package, path = WEIGHTS[name]
        with needs(f"loss.readers {name}", package, extra="ocr"):
            return Path(str(files(package) / path))
    if not Path(name).is_file():
        raise ConfigError(f"loss.readers {name} is no file, and none of {', '.join(WEIGHTS)}")
    return Path(name)
