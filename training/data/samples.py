"""Every word a configuration trains on, by number: stored pairs, stored crops, rendered words.

    stored pair ----------------------------------------> stretched to LR and HR size, or a window
    stored crop or rendered word -> 32 px high -> degrade -> the same

A sample depends on nothing but (seed, epoch, number), so that a step number says what is learnt from next,
on any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.manifest import PixelSpec
from model_store.pixels import crops_to_lr
from training.config import DataConfig
from training.data.crops import make_pair
from training.data.fonts import Font, find_fonts
from training.data.framing import stretch, window
from training.data.grounds import load_grounds
from training.data.lmdb import Rgb, Sample, Subset, find_subsets
from training.data.synth import render_word
from training.data.words import load_words, random_word
from training.errors import DataError

Nchw = npt.NDArray[np.float32]  # (N, 3, H, W) in [0, 1]

VALIDATION_EPOCH = 2**31 - 1  # no training epoch has this number, so no rendered word is met in both
TRIES = 64  # neighbours to try in the place of an unreadable sample; more in a row is no accident


@dataclass(frozen=True, eq=False)
class Pair:
    """One word to learn from: lr (height, width, 3), hr `scale` times that, uint8 RGB.

    label: "" where a window shows a piece of the word, of which nobody knows what it says.
    """

    label: str
    lr: Rgb
    hr: Rgb


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step learns from: lr (N, 3, h, w) and hr (N, 3, H, W) in [0, 1]; labels: N texts.

    unreadable: stored samples that could not be read and were replaced by their neighbours.
    """

    labels: tuple[str, ...]
    lr: Nchw
    hr: Nchw
    unreadable: int = 0


@dataclass
class Samples:
    """Stored and rendered words as one numbered collection; goes to worker processes by pickling.

    Numbers below `stored` are those of the LMDB roots in order; the rest are rendered, with new words in
    every epoch.
    """

    subsets: Sequence[Subset]
    rendered: int
    spec: PixelSpec
    config: DataConfig
    seed: int
    fonts: Sequence[Font] = ()
    words: Sequence[str] | None = None
    _grounds: Sequence[np.ndarray] | None = field(default=None, repr=False)

    @property
    def stored(self) -> int:
        return sum(map(len, self.subsets))

    def __len__(self) -> int:
        return self.stored + self.rendered

    def batch(self, numbers: Sequence[int], *, epoch: int) -> Batch:
        """The samples of these numbers, an unreadable one replaced by the next that can be read."""
        found = [self._readable(number, epoch) for number in numbers]
        pairs = [pair for pair, _ in found]
        return collate(pairs, self.spec, unreadable=sum(skipped for _, skipped in found))

    def pair(self, number: int, *, epoch: int) -> Pair | None:
        """One sample, or None if it is stored and cannot be read."""
        draws = np.random.SeedSequence([self.seed, epoch, number]).generate_state(4)
        word_seed, render_seed, degrade_seed, frame_seed = map(int, draws)
        if number >= self.stored:
            text = random_word(np.random.default_rng(word_seed), words=self.words)
            photos = self._photos()
            hr = render_word(text, config=self.config.synth, fonts=self.fonts, seed=render_seed, grounds=photos)
            return self._pair(Sample(text, hr), degrade_seed, frame_seed)
        sample = self._stored(number)
        return None if sample is None else self._pair(sample, degrade_seed, frame_seed)

    def _readable(self, number: int, epoch: int) -> tuple[Pair, int]:
        for skipped in range(TRIES):
            pair = self.pair((number + skipped) % len(self), epoch=epoch)
            if pair is not None:
                return pair, skipped
        raise DataError(f"{TRIES} samples in a row cannot be read, from number {number} on; is the data damaged?")

    def _stored(self, number: int) -> Sample | None:
        for subset in self.subsets:
            if number < len(subset):
                return subset.read(number)
            number -= len(subset)
        raise IndexError(number)

    def _pair(self, sample: Sample, degrade_seed: int, frame_seed: int) -> Pair:
        hr, lr, label = sample.hr, sample.lr, sample.label
        if lr is None:
            # In its own proportion, and stretched after: a lens does not know that the crop will be.
            hr, lr = make_pair(hr, config=self.config.degrade, seed=degrade_seed)
        if np.random.default_rng(frame_seed).random() >= self.config.window_share:
            return Pair(label, *stretch(lr, hr, self.spec))
        lr, hr, whole = window(lr, hr, self.spec, seed=frame_seed)
        return Pair(label if whole else "", lr, hr)

    def _photos(self) -> Sequence[np.ndarray] | None:
        if self._grounds is None and self.config.grounds is not None:
            self._grounds = load_grounds(self.config.grounds)  # here and not before: too large to send about
        return self._grounds


def training_samples(config: DataConfig, spec: PixelSpec, *, seed: int) -> Samples:
    """What is trained on. DataError names a root, font folder or word list that cannot be used."""
    return _samples(config, config.train, config.rendered, spec, seed)


def validation_samples(config: DataConfig, spec: PixelSpec, *, seed: int) -> Samples:
    """What is evaluated on; take `epoch=VALIDATION_EPOCH`."""
    config = replace(config, window_share=0.0)  # figures of one geometry, and every word whole
    return _samples(config, config.validation, config.rendered_validation, spec, seed)


def collate(pairs: Sequence[Pair], spec: PixelSpec, *, unreadable: int = 0) -> Batch:
    """Pairs of the sizes of `spec` as one batch."""
    large = replace(spec, height=spec.height * spec.scale, width=spec.width * spec.scale)
    return Batch(
        labels=tuple(pair.label for pair in pairs),
        lr=crops_to_lr([pair.lr for pair in pairs], spec),
        hr=crops_to_lr([pair.hr for pair in pairs], large),
        unreadable=unreadable,
    )


def _samples(config: DataConfig, roots: Sequence[Path], rendered: int, spec: PixelSpec, seed: int) -> Samples:
    if spec.scale != 2:
        raise DataError(f"degradation halves, and the network's scale is {spec.scale}; only 2 can be trained")
    return Samples(
        subsets=find_subsets(roots) if roots else (),
        rendered=rendered,
        spec=spec,
        config=config,
        seed=seed,
        fonts=find_fonts(config.fonts) if rendered else (),
        words=load_words(config.words) if rendered and config.words else None,
    )
