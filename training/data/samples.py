"""Every word a configuration trains on, by number: stored pairs, stored crops, rendered words.

    stored pair --------------------------------------------> stretched to LR and HR size
    stored crop or rendered word -> 32 px high -> degrade --> the same
                                 -> placed on a canvas at a scale of its own -> degrade
    a crop too low for HR ----------------------------------> LR, with its label as the only target

A sample depends on (seed, epoch, number) alone, so a step has the same samples on any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from model_store.manifest import PixelSpec
from model_store.pixels import crops_to_lr, resize
from training.config import DataConfig
from training.data.crop_store import CropStore, is_crops, open_roots
from training.data.crops import HR_HEIGHT, make_pair
from training.data.degrade import degrade_pair
from training.data.fonts import Font, find_fonts
from training.data.framing import Box, place, stretch
from training.data.grounds import load_grounds
from training.data.lmdb import Rgb, Sample, Subset
from training.data.synth import render_word
from training.data.words import load_words, random_text
from training.errors import DataError

Nchw = npt.NDArray[np.float32]  # (N, 3, H, W) in [0, 1]

VALIDATION_EPOCH = 2**31 - 1  # no training epoch, so no rendered word is in both
UPRIGHT = 1.3  # most height over width of a crop with a horizontal line of text
LONGEST = 24  # most characters of a text for the reading loss
BASIC_PLANE = 0x10000  # code points; characters beyond are rare
LATIN = ("latin", "accents")  # scripts that Latin recognisers read, in part or whole
ENLARGED = 1.1  # times its height a crop may be as HR; more would be soft
TRIES = 64  # neighbours to try for an unreadable sample; more in a row mean damaged data


@dataclass(frozen=True, eq=False)
class Pair:
    """One training pair: lr (height, width, 3), hr `scale` times that, uint8 RGB.

    label: text of the image; "" if it shows a piece of the word. text: the whole word, even of a piece; "" if rows
    of it are cut off. box: place of the text on HR. sharp: HR is not an enlarged LR. latin: the text is Latin.
    """

    label: str
    lr: Rgb
    hr: Rgb
    text: str = ""
    box: Box = (0.0, 0.0, 0.0, 0.0)
    sharp: bool = True
    latin: bool = True


@dataclass(frozen=True, eq=False)
class ReadingTargets:
    """Targets of the reading loss for N pairs: see `Pair`. boxes: float32 (N, 4). sharp: bool (N,).

    latin: number of Latin pairs, which come first.
    """

    texts: tuple[str, ...]
    boxes: npt.NDArray[np.float32]
    sharp: npt.NDArray[np.bool_]
    latin: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Data of one step: lr (N, 3, h, w) and hr (N, 3, H, W) in [0, 1]; labels: N texts.

    unreadable: stored samples that could not be read and were replaced by their neighbours.
    """

    labels: tuple[str, ...]
    lr: Nchw
    hr: Nchw
    unreadable: int = 0
    targets: ReadingTargets | None = None

    @property
    def reading_targets(self) -> ReadingTargets:
        """`targets`, or by default that each label is the text of its whole image."""
        if self.targets is not None:
            return self.targets
        count, _, height, width = self.hr.shape
        boxes = np.tile(np.array([0, 0, width, height], np.float32), (count, 1))
        return ReadingTargets(self.labels, boxes, np.ones(count, bool), count)


@dataclass
class Samples:
    """Stored and rendered words as one numbered collection, pickled to worker processes.

    Numbers below `stored` are the roots' samples in order; then come random crops too low for HR, and rendered
    words, new ones in every epoch.
    """

    subsets: Sequence[Subset | CropStore]
    low: Sequence[CropStore]
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
        return self.stored + (self.config.low if self.low else 0) + self.rendered

    @property
    def other_share(self) -> float:
        """Share of samples whose script is not Latin."""
        shares = self.config.scripts
        others = sum(share for script, share in shares.items() if script not in LATIN)
        return self.rendered / len(self) * others / sum(shares.values())

    def batch(self, numbers: Sequence[int], *, epoch: int) -> Batch:
        """The samples of these numbers, an unreadable one replaced by the next readable one.

        All are stretched or all are placed, as a batch has one size.
        """
        draw = np.random.default_rng([self.seed, epoch, numbers[0], len(numbers)]).random()
        placed = draw < self.config.window_share
        found = [self._readable(number, epoch, placed) for number in numbers]
        pairs = sorted((pair for pair, _ in found), key=lambda pair: not pair.latin)
        return collate(pairs, unreadable=sum(skipped for _, skipped in found))

    def pair(self, number: int, *, epoch: int, placed: bool = False) -> Pair | None:
        """One sample, or None if it is stored and cannot be read. placed: on the canvas of `data.window`."""
        draws = np.random.SeedSequence([self.seed, epoch, number]).generate_state(4)
        word_seed, render_seed, degrade_seed, frame_seed = map(int, draws)
        if number >= len(self) - self.rendered:
            sample, latin = self._rendered(word_seed, render_seed)
            return self._pair(sample, degrade_seed, frame_seed, placed=placed, latin=latin)
        if number >= self.stored:
            store = self.low[word_seed % len(self.low)]
            low = store.read(render_seed % len(store))
            return None if low is None else self._low_pair(low, frame_seed, placed=placed)
        stored = self._stored(number)
        return None if stored is None else self._pair(stored, degrade_seed, frame_seed, placed=placed)

    def _readable(self, number: int, epoch: int, placed: bool) -> tuple[Pair, int]:
        for skipped in range(TRIES):
            pair = self.pair((number + skipped) % len(self), epoch=epoch, placed=placed)
            if pair is not None:
                return pair, skipped
        raise DataError(f"{TRIES} samples in a row cannot be read, from number {number} on; is the data damaged?")

    def _rendered(self, word_seed: int, render_seed: int) -> tuple[Sample, bool]:
        """A rendered text, and whether its script is Latin; one that no font can draw is replaced."""
        rng, shares = np.random.default_rng(word_seed), self.config.scripts
        synth, photos = self.config.synth, self._photos()
        for _ in range(TRIES):
            script = str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))
            text = random_text(rng, script=script, words=self.words)
            try:
                hr = render_word(text, config=synth, fonts=self.fonts, seed=render_seed, grounds=photos)
            except DataError as error:
                last = error
                continue
            return Sample(text, hr), script in LATIN
        raise DataError(f"{TRIES} texts in a row could not be rendered, the last because {last}")

    def _stored(self, number: int) -> Sample | None:
        for subset in self.subsets:
            if number < len(subset):
                return subset.read(number)
            number -= len(subset)
        raise IndexError(number)

    def _pair(
        self, sample: Sample, degrade_seed: int, frame_seed: int, *, placed: bool, latin: bool = True
    ) -> Pair:
        hr, lr, label = sample.hr, sample.lr, sample.label
        rng = np.random.default_rng(frame_seed)
        if lr is None and rng.random() < self.config.negative_share:
            hr = 255 - hr
        if placed:
            if lr is not None:
                raise DataError("data.window_share needs crops to degrade, and these pairs have an LR already")
            return self._placed(hr, label, degrade_seed, rng, latin)
        if lr is None:
            # Degraded in its own proportions and then stretched, so that the blur is a lens's.
            hr, lr = make_pair(hr, config=self.config.degrade, seed=degrade_seed)
        lr, hr = stretch(lr, hr, self.spec)
        return Pair(label, lr, hr, label, _all_of(hr), latin=latin)

    def _placed(self, rgb: Rgb, label: str, degrade_seed: int, rng: np.random.Generator, latin: bool) -> Pair:
        low, high = self.config.window_heights
        most = max(low, min(high, int(ENLARGED * len(rgb))))
        height = round(float(np.exp(rng.uniform(np.log(low), np.log(most)))))
        found = place(rgb, height=height, canvas=self._canvas, rng=rng)
        scale = height / HR_HEIGHT
        hr, lr = degrade_pair(found.canvas, config=self.config.degrade, seed=degrade_seed, scale=scale)
        upright = len(label) > 2 and len(rgb) > UPRIGHT * rgb.shape[1]  # a vertical or rotated line
        text = label if found.high and not upright else ""
        return Pair(label if found.whole else "", lr, hr, text, found.box, latin=latin)

    def _low_pair(self, sample: Sample, frame_seed: int, *, placed: bool) -> Pair:
        rng, scale = np.random.default_rng(frame_seed), self.spec.scale
        if placed:
            canvas = (self.config.window[0], self.config.window[1])
            found = place(sample.hr, height=len(sample.hr), canvas=canvas, rng=rng)
            lr, label = found.canvas, sample.label if found.whole else ""
            left, top, right, bottom = found.box
            box = (scale * left, scale * top, scale * right, scale * bottom)
        else:
            lr, label = resize(sample.hr, height=self.spec.height, width=self.spec.width), sample.label
            box = (0.0, 0.0, float(scale * self.spec.width), float(scale * self.spec.height))
        hr = resize(lr, height=scale * lr.shape[0], width=scale * lr.shape[1])
        return Pair(label, lr, hr, sample.label, box, sharp=False)

    @property
    def _canvas(self) -> tuple[int, int]:
        height, width = self.config.window
        return self.spec.scale * height, self.spec.scale * width

    def _photos(self) -> Sequence[np.ndarray] | None:
        if self._grounds is None and self.config.grounds is not None:
            self._grounds = load_grounds(self.config.grounds)  # here and not before: too large to pickle
        return self._grounds


def training_samples(config: DataConfig, spec: PixelSpec, *, seed: int) -> Samples:
    """The training samples. DataError names a root, font folder or word list that cannot be used."""
    return _samples(config, open_roots(config.train, held_out=config.held_out), config.rendered, spec, seed)


def validation_samples(config: DataConfig, spec: PixelSpec, *, seed: int) -> Samples:
    """The validation samples; take `epoch=VALIDATION_EPOCH`."""
    config = replace(config, window_share=0.0, low=0)  # one geometry, and whole words
    return _samples(config, open_roots(config.validation), config.rendered_validation, spec, seed)


def collate(pairs: Sequence[Pair], *, unreadable: int = 0) -> Batch:
    """Pairs of one size, the Latin ones first, as one batch."""
    return Batch(
        labels=tuple(pair.label for pair in pairs),
        lr=_nchw([pair.lr for pair in pairs]),
        hr=_nchw([pair.hr for pair in pairs]),
        unreadable=unreadable,
        targets=ReadingTargets(
            texts=tuple(pair.text for pair in pairs),
            boxes=np.array([pair.box for pair in pairs], np.float32),
            sharp=np.array([pair.sharp for pair in pairs]),
            latin=sum(pair.latin for pair in pairs),
        ),
    )


def code_points(texts: Sequence[str]) -> npt.NDArray[np.int32]:
    """int32 (N, LONGEST): Unicode code points, 0 after the end; all 0 for a text that is too long or empty."""
    codes = np.zeros((len(texts), LONGEST), np.int32)
    for row, text in zip(codes, texts, strict=True):
        if len(text) <= LONGEST:
            row[: len(text)] = [ord(character) for character in text]
    return codes.clip(0, BASIC_PLANE - 1)


def _nchw(pictures: Sequence[Rgb]) -> Nchw:
    height, width = pictures[0].shape[:2]
    return crops_to_lr(pictures, PixelSpec(height, width, 1))


def _all_of(rgb: Rgb) -> Box:
    return 0.0, 0.0, float(rgb.shape[1]), float(rgb.shape[0])


def _samples(
    config: DataConfig, subsets: Sequence[Subset | CropStore], rendered: int, spec: PixelSpec, seed: int
) -> Samples:
    if spec.scale != 2:
        raise DataError(f"degradation halves crops, so model.scale must be 2, and the scale is {spec.scale}")
    low = [CropStore(root, held_out=config.held_out, low=True) for root in config.train if is_crops(root)]
    if config.low and not any(map(len, low)):
        raise DataError("data.low needs a root of data.train that is a tar or folder with low crops")
    return Samples(
        subsets=subsets,
        low=[store for store in low if len(store)] if config.low else [],
        rendered=rendered,
        spec=spec,
        config=config,
        seed=seed,
        fonts=find_fonts(config.fonts) if rendered else (),
        words=load_words(config.words) if rendered and config.words else None,
    )
