"""The recogniser in PyTorch, the same function as `training.recogniser`, and the loss that uses it.

    image -> grey -> residual CNN -> places;   word -> decoder, attending to the places -> logits, attention
    sr, hr, labels -> TextFocusedLoss -> loss, mse, attention, recognition

Names are FudanOCR's (`embedding_word`, `generator_word`, ...). Formulas and sources: `training.recogniser`,
`training.losses`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.architecture import GREY, RecogniserConfig, position_encoding
from training.engines.torch_layers import Dropout, FeedForward, LayerNorm, MultiHeadAttention
from training.engines.torch_reading import ReadingLoss, Words
from training.engines.torch_views import gaussian, soften
from training.text_focus import ALPHABET, LabelBatch, LossConfig, encode_labels, weight_table

LENS_PX = 1.4  # of SR: blur of a usual lens and sensor, to turn SR into LR
ENDS = (("conv", "bn"),) * 3 + (("conv2", "conv2_bn"),)  # last layers of each stage, as published


class Recogniser(nn.Module):
    """Reads words of [0-9a-z] in images in [0, 1]."""

    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        self.config = config
        width, classes = config.width, len(ALPHABET)
        self.embedding_word = nn.ModuleDict({"lut": nn.Embedding(classes, width // 2)})
        self.position_dropout = Dropout(config.dropout, config.dropout_mode)
        self.encoder = nn.ModuleDict({"cnn": ResNet(config)})
        self.decoder = Decoder(config)
        self.generator_word = nn.ModuleDict({"proj": nn.Linear(width, classes)})

    def forward(self, images: Tensor, labels: LabelBatch) -> tuple[Tensor, Tensor]:
        """Read with the true word given: logits (sum of lengths, 37) and attention (N, heads, L, places).

        images: float (N, 3 or 1, H, W) in [0, 1], H and W multiples of 4. Both results are float32.
        """
        inputs, positions = (torch.from_numpy(a).to(images.device) for a in (labels.inputs, labels.positions))
        logits, attention = self.decode(self.encode(images), inputs)
        return logits.float().flatten(0, 1)[positions], attention

    def encode(self, images: Tensor) -> Tensor:
        """float (N, 3 or 1, H, W) -> features of its places (N, H/4 * W/4, width)."""
        if images.shape[1] == len(GREY):
            red, green, blue = images.split(1, dim=1)
            images = GREY[0] * red + GREY[1] * green + GREY[2] * blue
        features: Tensor = self.encoder["cnn"](images)
        return features.flatten(2).transpose(1, 2)

    def decode(self, features: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, L, 37) and attention (N, heads, L, P); inputs: int64 (N, L), a zero, then classes."""
        embedded = self.embedding_word["lut"](inputs) * math.sqrt(self.config.width // 2)  # (N, L, width / 2)
        waves = torch.from_numpy(position_encoding(*embedded.shape[1:])).to(embedded)
        positions = self.position_dropout(waves.expand_as(embedded))
        decoded, attention = self.decoder(torch.cat([embedded, positions], dim=2), features)
        return self.generator_word["proj"](decoded), attention

    @torch.no_grad()
    def read(self, images: Tensor, *, longest: int = 25) -> list[str]:
        """The words in the images: the likeliest character at each step, at most `longest` of them."""
        features = self.encode(images)
        words = torch.zeros(len(images), 1, dtype=torch.int64, device=images.device)
        for _ in range(longest):
            following = self.decode(features, words)[0][:, -1].argmax(-1, keepdim=True)  # (N, 1)
            words = torch.cat([words, following], dim=1)
            if bool((words[:, 1:] == 0).any(dim=1).all()):
                break
        texts = ("".join(ALPHABET[index] for index in word) for word in words[:, 1:].tolist())
        return [text.split(ALPHABET[0], 1)[0] for text in texts]

    def freeze(self, *, dropout: bool = False) -> None:
        """Switch to evaluation mode and freeze the weights; dropout=True keeps dropout on."""
        self.eval().requires_grad_(False)
        for layer in self.modules():
            layer.training = dropout and isinstance(layer, Dropout | MultiHeadAttention)


class Decoder(nn.Module):
    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        width, dropout, mode = config.width, config.dropout, config.dropout_mode
        self.mask_multihead = MultiHeadAttention(config.heads, width, dropout, mode)
        self.mul_layernorm1 = LayerNorm(width)
        self.multihead = MultiHeadAttention(config.heads, width, dropout, mode)
        self.mul_layernorm2 = LayerNorm(width)
        self.pff = FeedForward(width, config.inner, dropout, mode)
        self.mul_layernorm3 = LayerNorm(width)

    def forward(self, text: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """text: (N, L, width), places: (N, P, width) -> (N, L, width), attention over places (N, heads, L, P)."""
        text = self.mul_layernorm1(text + self.mask_multihead(text, causal=True))
        seen, attention = self.multihead.with_maps(text, places)
        text = self.mul_layernorm2(text + seen)
        return self.mul_layernorm3(text + self.pff(text)), attention


class ResNet(nn.Module):
    """Grey image (N, 1, H, W) -> (N, width, H/4, W/4)."""

    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        first, second = config.stem
        self.conv1, self.bn1 = _convolution(1, first)
        self.conv2, self.bn2 = _convolution(first, second)
        before = second
        stages = zip(config.stages, config.blocks, (*config.stages[:3], config.width), ENDS, strict=True)
        for number, (channels, blocks, after, (conv, norm)) in enumerate(stages, start=1):
            self.add_module(f"layer{number}", _stage(before, channels, blocks))
            closing = _convolution(channels, after)
            self.add_module(f"layer{number}_{conv}", closing[0])
            self.add_module(f"layer{number}_{norm}", closing[1])
            before = channels

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        for number, (conv, norm) in enumerate(ENDS, start=1):
            x = getattr(self, f"layer{number}_{conv}")(getattr(self, f"layer{number}")(x))
            x = F.relu(getattr(self, f"layer{number}_{norm}")(x))
        return x


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, itself a convolution where the channels change."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(before, after)
        self.conv2, self.bn2 = _convolution(after, after)
        self.downsample = nn.Sequential(*_convolution(before, after)) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


class TextFocusedLoss(nn.Module):
    """`loss(sr, hr, labels, ...)` -> scalars by name: "loss", "mse", and the other parts that are configured."""

    log_weights: Tensor
    lens: Tensor

    def __init__(
        self, config: LossConfig, recogniser: Recogniser | None, reading: ReadingLoss | None = None
    ) -> None:
        super().__init__()
        self.config, self.recogniser, self.reading = config, recogniser, reading
        if recogniser is not None:
            recogniser.freeze(dropout=config.recogniser_dropout)
        self.register_buffer("log_weights", torch.from_numpy(np.log(weight_table()).astype(np.float32)))
        self.register_buffer("lens", gaussian(LENS_PX), persistent=False)

    def forward(
        self,
        sr: Tensor,
        hr: Tensor,
        labels: Sequence[str],
        *,
        lr: Tensor | None = None,
        words: Words | None = None,
        turn: int = 0,
    ) -> dict[str, Tensor]:
        """sr, hr: float32 (N, 3, H, W), hr in [0, 1]. labels: any text, "" for mse alone.

        words, turn: for `ReadingLoss`. lr: (N, 3, h, w), the target of rows without a sharp HR.
        """
        config = self.config
        mse = F.mse_loss(sr, hr) if words is None or lr is None else self._held(sr, hr, lr, words.sharp)
        parts, total = {"mse": mse}, mse
        if self.recogniser is not None:
            attention, recognition = self._text_focus(self.recogniser, sr, hr, labels)
            parts |= {"attention": attention, "recognition": recognition}
            total = total + config.attention_weight * attention + config.recognition_weight * recognition
        if self.reading is not None:
            assert words is not None, "the readers need the words"
            parts["reading"] = self.reading(sr, hr, words, turn=turn)
            total = total + config.reader_weight * parts["reading"]
        return {"loss": config.scale * total, **parts}

    def _held(self, sr: Tensor, hr: Tensor, lr: Tensor, sharp: Tensor) -> Tensor:
        """Mean squared error of SR to HR; in rows without a sharp HR, of blurred and shrunk SR to LR."""
        shrunk = F.avg_pool2d(soften(sr, self.lens), 2)
        to_hr, to_lr = ((a - b).square().mean((1, 2, 3)) for a, b in ((sr, hr), (shrunk, lr)))
        return torch.where(sharp, to_hr, to_lr).mean()

    def _text_focus(
        self, recogniser: Recogniser, sr: Tensor, hr: Tensor, labels: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        known = [row for row, label in enumerate(labels) if label]  # a piece of a word has no label
        if not known:
            return 0 * sr.sum(), 0 * sr.sum()
        if len(known) < len(labels):
            sr, hr = sr[known], hr[known]
        words = encode_labels([labels[row] for row in known])
        with torch.no_grad():  # HR's reading is the target
            hr_logits, target = recogniser(hr, words)
        sr_logits, attention_map = recogniser(sr, words)
        attention = F.l1_loss(attention_map, target)
        logits = sr_logits if self.config.recognition_of == "sr" else hr_logits
        truth = torch.from_numpy(words.targets).to(logits.device)
        return attention, F.cross_entropy(logits + self.log_weights[truth], truth)


def _convolution(before: int, after: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after)


def _stage(before: int, after: int, blocks: int) -> nn.Sequential:
    rest = [ResidualBlock(after, after) for _ in range(blocks - 1)]
    return nn.Sequential(ResidualBlock(before, after), *rest)
