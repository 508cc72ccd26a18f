"""Samples by number: stored crops, low crops and rendered words, their geometry, and the labels of each batch."""

from pathlib import Path

import numpy as np
import pytest

from model_store.manifest import PixelSpec
from tests.training.drawn import WORDS, word, write_tar
from training.config import DataConfig
from training.data.fonts import find_fonts
from training.data.samples import (
    BASIC_PLANE,
    LATIN,
    LONGEST,
    Batch,
    Pair,
    Samples,
    code_points,
    collate,
    training_samples,
    validation_samples,
)
from training.data.synth import SynthConfig
from training.errors import DataError

SPEC = PixelSpec(16, 64, 2)
HIGH, LOW = WORDS[:5], WORDS[5:8]


def crops(folder: Path) -> Path:
    high, low = ([(text, word(text, size=size)) for text in texts] for texts, size in ((HIGH, 40), (LOW, 12)))
    return write_tar(folder / "crops.tar", high + low)


def samples(*roots: Path, seed: int = 5, **settings: object) -> Samples:
    config = DataConfig(train=roots, rendered_validation=1, **settings)  # type: ignore[arg-type]
    return training_samples(config, SPEC, seed=seed)


def pair(of: Samples, number: int, *, epoch: int = 0, placed: bool = False) -> Pair:
    found = of.pair(number, epoch=epoch, placed=placed)
    assert found is not None
    return found


def same(a: Pair, b: Pair) -> bool:
    described = (a.label, a.text, a.box, a.sharp, a.latin) == (b.label, b.text, b.box, b.sharp, b.latin)
    return described and np.array_equal(a.lr, b.lr) and np.array_equal(a.hr, b.hr)


def greek() -> None:
    if not any(font.has("Ωβψ") for font in find_fonts()):
        pytest.skip("no font here has Greek")


@pytest.mark.parametrize("placed", [False, True])
def test_a_sample_follows_from_seed_epoch_and_number_alone(placed: bool, tmp_path: Path) -> None:
    path, settings = crops(tmp_path), {"rendered": 6, "low": 4, "negative_share": 0.5}
    first, again, other = (samples(path, seed=seed, **settings) for seed in (5, 5, 6))
    for number in reversed(range(len(first))):  # in another order
        assert same(pair(first, number, epoch=2, placed=placed), pair(again, number, epoch=2, placed=placed))
    for changed, epoch in ((first, 3), (other, 2)):
        pairs = [(pair(first, n, epoch=2), pair(changed, n, epoch=epoch)) for n in range(len(first))]
        assert sum(same(a, b) for a, b in pairs) < len(pairs) / 3


def test_numbers_are_stored_crops_then_low_ones_then_rendered_words(tmp_path: Path) -> None:
    of = samples(crops(tmp_path), rendered=3, low=6)
    assert (len(of), of.stored) == (5 + 6 + 3, 5)
    assert [pair(of, number).label for number in range(5)] == list(HIGH)
    low = [pair(of, number, epoch=epoch) for number in range(5, 11) for epoch in range(3)]
    assert {one.label for one in low} == set(LOW)
    assert not {pair(of, number).label for number in range(11, 14)} & {*HIGH, *LOW}
    assert [pair(of, number).sharp for number in range(14)] == [True] * 5 + [False] * 6 + [True] * 3


@pytest.mark.parametrize("placed", [False, True])
def test_a_low_crop_is_lr_and_has_no_hr_but_its_text_is_kept(placed: bool, tmp_path: Path) -> None:
    of = samples(crops(tmp_path), low=8)
    for number in range(5, 13):
        one = pair(of, number, placed=placed)
        left, top, right, bottom = one.box
        crop = word(one.text, size=12)
        assert (one.label, one.sharp, one.latin) == (one.text, False, True)
        assert (one.lr.shape, one.hr.shape) == (
            ((32, 96, 3), (64, 192, 3)) if placed else ((16, 64, 3), (32, 128, 3))
        )
        if placed:  # as large as it was found
            cut = one.lr[int(top) // 2 : int(bottom) // 2, int(left) // 2 : int(right) // 2]
            assert np.array_equal(cut, crop)
        else:
            assert one.box == (0, 0, 128, 32)


def test_low_crops_are_met_only_where_they_are_asked_for(tmp_path: Path) -> None:
    path = crops(tmp_path)
    assert len(samples(path)) == 5
    no_low = write_tar(tmp_path / "high.tar", [(text, word(text)) for text in HIGH])
    with pytest.raises(DataError, match=r"data\.low needs a root of data\.train that is a tar or folder"):
        samples(no_low, low=1)


def test_words_held_out_are_not_trained_on_low_ones_neither(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "crops.tar", [(text, word(text, size=size)) for text in WORDS for size in (12, 40)]
    )
    of, all_of_them = (samples(path, low=40, held_out=share) for share in (0.4, 0.0))
    met, every = ({pair(one, number).label for number in range(len(one))} for one in (of, all_of_them))
    assert met < every == set(WORDS)
    stored = {pair(of, number).label for number in range(of.stored)}
    assert met == stored


def test_a_batch_is_of_one_size_and_its_latin_rows_come_first(tmp_path: Path) -> None:
    greek()
    of = samples(
        crops(tmp_path), rendered=30, scripts={"greek": 0.6, "accents": 0.4}, window_share=0.5,
        synth=SynthConfig(screen_share=1.0),
    )  # fmt: skip
    assert of.other_share == pytest.approx(0.6 * 30 / 35)
    sizes = set()
    for epoch in range(12):
        numbers = np.random.default_rng(epoch).permutation(35)[:8].tolist()
        batch = of.batch(numbers, epoch=epoch)
        sizes.add(batch.lr.shape)
        placed = batch.lr.shape[2:] == (32, 96)
        rows = sorted((pair(of, n, epoch=epoch, placed=placed) for n in numbers), key=lambda one: not one.latin)
        assert batch.reading_targets.latin == sum(one.latin for one in rows)
        for row, one in enumerate(rows):  # every column in the same order
            targets = batch.reading_targets
            assert (batch.labels[row], targets.texts[row]) == (one.label, one.text)
            assert bool(targets.sharp[row]) == one.sharp
            assert targets.boxes[row].tolist() == list(one.box)
            assert np.array_equal(np.rint(255 * batch.hr[row].transpose(1, 2, 0)), one.hr)
            assert np.array_equal(np.rint(255 * batch.lr[row].transpose(1, 2, 0)), one.lr)
    assert sizes == {(8, 3, 16, 64), (8, 3, 32, 96)}


def test_scripts_are_drawn_by_their_shares() -> None:
    greek()
    of = samples(rendered=80, scripts={"latin": 0.75, "greek": 0.25}, synth=SynthConfig(screen_share=1.0))
    assert np.mean([pair(of, number).latin for number in range(80)]) == pytest.approx(0.75, abs=0.15)
    assert of.other_share == 0.25
    assert {"latin", "accents"} == set(LATIN)


def test_dark_crops_are_made_bright_in_their_share_and_so_is_their_lr(tmp_path: Path) -> None:
    path = crops(tmp_path)
    plain, negative, some = (samples(path, negative_share=share) for share in (0.0, 1.0, 0.5))
    for number in range(5):
        a, b = pair(plain, number), pair(negative, number)
        assert np.abs(255.0 - a.hr - b.hr).max() <= 2  # rounding of the resize
        assert a.lr.mean() > 150
        assert b.lr.mean() < 110
    means = [pair(some, number, epoch=epoch).hr.mean() for number in range(5) for epoch in range(10)]
    assert 10 < sum(mean < 128 for mean in means) < 40


def test_text_that_runs_downwards_is_not_a_target_where_it_is_placed(tmp_path: Path) -> None:
    upright = word("market").transpose(1, 0, 2)
    path = write_tar(tmp_path / "crops.tar", [("market", upright), ("I", upright), ("market", word("market"))])
    of = samples(path, window_heights=(24, 48))
    assert [pair(of, number, placed=True).text for number in range(3)] == ["", "I", "market"]
    assert [pair(of, number, placed=True).label for number in range(3)] == ["market", "I", "market"]


@pytest.mark.parametrize("heights", [(30, 30), (40, 90)])
def test_placed_words_have_heights_in_their_range_and_are_not_enlarged(
    heights: tuple[int, int], tmp_path: Path
) -> None:
    of = samples(crops(tmp_path), window_heights=heights, window=(64, 160))
    for number in range(5):
        own = len(word(HIGH[number], size=40))
        for epoch in range(10):
            _, top, _, bottom = pair(of, number, epoch=epoch, placed=True).box
            assert heights[0] <= bottom - top <= max(heights[0], min(heights[1], 1.1 * own))


def test_validation_has_whole_words_of_one_size(tmp_path: Path) -> None:
    config = DataConfig(rendered=1, validation=(crops(tmp_path),), window_share=1.0, rendered_validation=2)
    of = validation_samples(config, SPEC, seed=5)
    assert len(of) == 5 + 2
    pairs = [pair(of, number) for number in range(7)]
    assert all(one.label and one.hr.shape == (32, 128, 3) and one.box == (0, 0, 128, 32) for one in pairs)


def test_code_points_are_padded_with_0_and_say_nothing_of_a_text_that_is_too_long() -> None:
    texts = ["aé文", "", "x" * LONGEST, "x" * (LONGEST + 1), "a😀"]
    codes = code_points(texts)
    assert (codes.shape, codes.dtype) == ((5, LONGEST), np.dtype(np.int32))
    assert codes[0].tolist() == [ord("a"), ord("é"), ord("文")] + [0] * (LONGEST - 3)
    assert not codes[1].any()
    assert (codes[2] == ord("x")).all()
    assert not codes[3].any()
    assert codes[4, :3].tolist() == [ord("a"), BASIC_PLANE - 1, 0]


def test_a_batch_knows_what_it_was_collated_from() -> None:
    hr = np.zeros((8, 16, 3), np.uint8)
    pairs = [
        Pair("a", hr[:4, :8], hr, "a", (1, 2, 3, 4)),
        Pair("", hr[:4, :8], hr, "βγ", (0, 0, 16, 8), latin=False),
    ]
    batch = collate(pairs, unreadable=3)
    assert isinstance(batch, Batch)
    targets = batch.reading_targets
    assert (batch.labels, batch.unreadable, targets.texts, targets.latin) == (("a", ""), 3, ("a", "βγ"), 1)
    assert targets.boxes.tolist() == [[1, 2, 3, 4], [0, 0, 16, 8]]
