"""The transformer that reads words for the text-focused loss.

    image -> grey -> residual CNN -> features of 8 x 32 places ------.
                                                                     v
    word, shifted right -> embedding | position -> self-attention -> attention over the places
                                                -> feed-forward -> logits of each character

The loss compares its attention over SR with that over HR. Structure and parameter names are as in the published
weights (Chen, Li, Xue, Scene Text Telescope, CVPR 2021; PaddleOCR's names), so these load by rule. The sizes are
free, so that a CPU can train a small one.

    recogniser = Recogniser()
    load_recogniser_state(recogniser, read_published(Path("pretrain_transformer.pth")).weights, origin="...")
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import paddle
from paddle import Tensor, nn

from training.architecture import GREY, RecogniserConfig, position_encoding
from training.checkpoint import set_weights
from training.convert import rename
from training.layers import FeedForward, LayerNorm, MultiHeadAttention
from training.recogniser_cnn import ResNet
from training.recogniser_weights import named_as_ours
from training.text_focus import ALPHABET, LabelBatch


class RecogniserOutput(NamedTuple):
    """logits: float (sum of lengths, 37). attention: float (N, heads, longest, places), after dropout."""

    logits: Tensor
    attention: Tensor


class Recogniser(nn.Layer):
    """Reads words of [0-9a-z] from images in [0, 1].

    pretrained: whether weights have been loaded, which the text-focused loss requires.
    """

    def __init__(self, config: RecogniserConfig | None = None) -> None:
        super().__init__()
        self.config = config or RecogniserConfig()
        self.pretrained = False
        width, classes = self.config.width, len(ALPHABET)
        self.embedding_word_with_upperword = _Embedding(classes, width // 2)
        self.position_dropout = nn.Dropout(self.config.dropout, mode=self.config.dropout_mode)
        self.encoder = nn.LayerDict({"cnn": _network(self.config)})
        self.decoder = _Decoder(self.config)
        self.generator_word_with_upperword = _Generator(width, classes)

    def forward(self, images: Tensor, labels: LabelBatch) -> RecogniserOutput:
        """Logits and attention for the true words (teacher forcing).

        images: float (N, 3 or 1, H, W) in [0, 1], H and W multiples of 4 (32 x 128 as published).
        Logits are in the order of `labels.targets`.
        """
        logits, attention = self.decode(self.encode(images), paddle.to_tensor(labels.inputs))
        chosen = paddle.gather(logits.flatten(0, 1), paddle.to_tensor(labels.positions))
        return RecogniserOutput(chosen, attention)

    def encode(self, images: Tensor) -> Tensor:
        """float (N, 3 or 1, H, W) -> features (N, H/4 * W/4, width)."""
        if images.shape[1] == len(GREY):
            red, green, blue = images.split(3, axis=1)
            images = GREY[0] * red + GREY[1] * green + GREY[2] * blue
        features: Tensor = self.encoder["cnn"](images)
        return features.flatten(2).transpose([0, 2, 1])

    def decode(self, features: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, L, 37) and attention (N, heads, L, P) of L steps.

        features: (N, P, width) of `encode`. inputs: int64 (N, L), a zero, then classes.
        """
        embedded = self.embedding_word_with_upperword(inputs)  # (N, L, width / 2)
        waves = paddle.to_tensor(position_encoding(embedded.shape[1], embedded.shape[2]))
        positions = self.position_dropout(waves.expand_as(embedded))
        decoded, attention = self.decoder(paddle.concat([embedded, positions], axis=2), features)
        return self.generator_word_with_upperword(decoded), attention

    @paddle.no_grad()
    def read(self, images: Tensor, *, longest: int = 25) -> list[str]:
        """The words on the images: the likeliest character at each step, at most `longest` characters."""
        features = self.encode(images)
        words = paddle.zeros([images.shape[0], 1], dtype="int64")
        for _ in range(longest):
            following = self.decode(features, words)[0][:, -1].argmax(-1, keepdim=True)  # (N, 1)
            words = paddle.concat([words, following], axis=1)
            if bool((words[:, 1:] == 0).any(axis=1).all()):
                break
        return [_until_end(word) for word in words[:, 1:].numpy()]

    def freeze(self, *, dropout: bool = False) -> None:
        """Set evaluation mode and stop gradients of the weights; with `dropout`, dropout stays on."""
        self.eval()
        for parameter in self.parameters():
            parameter.stop_gradient = True
        for layer in self.sublayers():
            layer.training = dropout and isinstance(layer, nn.Dropout)


def load_recogniser_state(recogniser: Recogniser, weights: Mapping[str, np.ndarray], *, origin: str) -> None:
    """Load published or our weights into a recogniser, and mark it pretrained.

    weights: arrays with any of the names that `named_as_ours` takes. origin: their name in error messages.
    Raises KeyMismatch listing unknown, missing and misshapen keys.
    """
    ours, layout = named_as_ours(weights)
    ours = rename(ours, recogniser, layout=layout)
    set_weights(recogniser, ours, origin=origin)
    recogniser.pretrained = True


def _network(config: RecogniserConfig) -> ResNet:
    return ResNet(stem=config.stem, stages=config.stages, blocks=config.blocks, width=config.width)


def _until_end(classes: Iterable[int]) -> str:
    word = "".join(ALPHABET[index] for index in classes)
    return word.split(ALPHABET[0], 1)[0]


class _Embedding(nn.Layer):
    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.lut = nn.Embedding(classes, width)
        self.scale = math.sqrt(width)  # gives the embedding the magnitude of the position encoding

    def forward(self, inputs: Tensor) -> Tensor:
        return self.lut(inputs) * self.scale


class _Generator(nn.Layer):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.proj(x)
        return logits


class _Decoder(nn.Layer):
    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        width, dropout, mode = config.width, config.dropout, config.dropout_mode
        self.mask_multihead = MultiHeadAttention(config.heads, width, dropout, dropout_mode=mode)
        self.mul_layernorm1 = LayerNorm(width)
        self.multihead = MultiHeadAttention(config.heads, width, dropout, dropout_mode=mode)
        self.mul_layernorm2 = LayerNorm(width)
        self.pff = FeedForward(width, config.inner, dropout, dropout_mode=mode)
        self.mul_layernorm3 = LayerNorm(width)

    def forward(self, text: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """text: (N, L, width), places: (N, P, width) -> (N, L, width), attention over places (N, heads, L, P)."""
        length = text.shape[1]
        earlier = paddle.tril(paddle.ones([length, length])).cast("bool")  # (L, L), the diagonal included
        text = self.mul_layernorm1(text + self.mask_multihead(text, text, text, earlier)[0])
        seen, attention = self.multihead(text, places, places)
        text = self.mul_layernorm2(text + seen)
        return self.mul_layernorm3(text + self.pff(text)), attention
