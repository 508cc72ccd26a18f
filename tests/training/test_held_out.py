"""Held-out words: the same pictures every time, whole, and figures that are of the words alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.manifest import PixelSpec
from model_store.pixels import Rgb, resize
from tests.training.drawn import WORDS, word, write_tar
from training.config import DataConfig
from training.data.crop_store import CropStore
from training.errors import DataError
from training.held_out import (
    HEIGHTS,
    PRESETS,
    HeldOut,
    WordSet,
    cut,
    figures,
    psnr,
    reads_crops,
    score,
    sheet,
    word_sets,
)

SPEC = PixelSpec(16, 64, 2)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    return write_tar(folder / "crops.tar", [(text, word(text, size=40)) for text in WORDS])


def config(path: Path, **changes: object) -> DataConfig:
    return DataConfig(train=(path,), **{"held_out": 0.5, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sets(path: Path) -> list[WordSet]:
    return word_sets(config(path), SPEC, seed=1)


class Ink:
    """Reads a crop by how much ink it has; knows nothing of the others."""

    name, version = "ink", "1"

    def __init__(self, known: WordSet) -> None:
        self._known = [
            (len(c), c.astype(float).mean(), t)
            for c, t in zip(cut(known.hr, known.boxes), known.labels, strict=True)
        ]

    def read(self, crops: Sequence[Rgb]) -> list[str]:
        return [
            min(self._known, key=lambda k: (abs(k[0] - len(crop)), abs(k[1] - crop.mean())))[2] for crop in crops
        ]


def test_the_words_are_those_held_out_under_every_preset(path: Path, sets: list[WordSet]) -> None:
    held = [sample.label for sample in CropStore(path, part="held out", held_out=0.5)]
    assert [words.name for words in sets] == list(PRESETS)
    assert 3 < len(held) < len(WORDS)
    for words in sets:
        assert words.labels == held
        assert (words.lr.shape, words.hr.shape) == ((len(held), 32, 96, 3), (len(held), 64, 192, 3))


def test_the_same_seed_gives_the_same_pictures_and_a_limit_the_first_of_them(
    path: Path, sets: list[WordSet]
) -> None:
    again, fewer, other = (
        word_sets(config(path), SPEC, seed=seed, limit=limit) for seed, limit in ((1, None), (1, 3), (2, None))
    )
    for words, a, b, c in zip(sets, again, fewer, other, strict=True):
        for name in ("lr", "hr", "boxes"):
            ours = getattr(words, name)
            assert np.array_equal(ours, getattr(a, name))
            assert np.array_equal(ours[:3], getattr(b, name))
            assert not np.array_equal(ours, getattr(c, name))
        assert b.labels == words.labels[:3]


@settings(max_examples=20)
@given(st.integers(9, 120), st.integers(9, 500))
def test_every_word_is_whole_on_its_canvas_at_a_height_that_it_fits_at(height: int, width: int) -> None:
    def one_crop(*_: object, **__: object) -> list[list[object]]:
        return [[type("Crop", (), {"label": "a", "hr": np.zeros((height, width, 3), np.uint8)})()]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.held_out.open_roots", one_crop)
        (words,) = word_sets(config(Path("unused")), SPEC, seed=height, presets=["sharp"])
    left, top, right, bottom = words.boxes[0]
    assert 0 <= left < right <= 192
    assert 0 <= top < bottom <= 64
    if width / height < 192 / HEIGHTS[0]:
        assert HEIGHTS[0] <= bottom - top <= HEIGHTS[1]
    if width / height < 192 / 8:
        assert right - left == max(4, round(width * (bottom - top) / height))


def test_harder_presets_are_harder(sets: list[WordSet]) -> None:
    plain = [psnr(words, words.bicubic) for words in sets]
    assert plain == sorted(plain, reverse=True)


def test_equal_pictures_have_the_highest_psnr_and_it_is_finite(sets: list[WordSet]) -> None:
    words = sets[0]
    assert psnr(words, words.hr) == pytest.approx(78.13, abs=0.01)
    assert psnr(words, np.where(words.hr < 255, words.hr + 1, 254).astype(np.uint8)) == pytest.approx(
        48.13, abs=0.01
    )


def test_psnr_sees_the_boxes_alone(sets: list[WordSet]) -> None:
    words = sets[0]
    made = np.zeros_like(words.hr)
    for picture, hr, box in zip(made, words.hr, words.boxes.astype(int), strict=True):
        left, top, right, bottom = box
        picture[top:bottom, left:right] = hr[top:bottom, left:right]
    assert psnr(words, made) == psnr(words, words.hr)


def test_what_is_cut_is_the_word_at_its_height(path: Path, sets: list[WordSet]) -> None:
    words = sets[1]
    held = CropStore(path, part="held out", held_out=0.5)
    for crop, sample in zip(cut(words.hr, words.boxes), held, strict=True):
        assert np.array_equal(crop, resize(sample.hr, height=crop.shape[0], width=crop.shape[1]))


def test_figures_say_what_each_reader_reads_of_each_picture(sets: list[WordSet]) -> None:
    words = sets[0]
    readers = {"ink": reads_crops(Ink(words)), "none": lambda pictures, boxes: [""] * len(pictures)}
    found = figures(words, {"hr": words.hr, "flat": np.zeros_like(words.hr)}, readers)
    assert found["hr"] == {"ink": 1.0, "none": 0.0}
    assert found["flat"].keys() == {"psnr", "ink", "none"}
    assert found["flat"]["ink"] < 1
    assert score([found, found], "hr", ["ink", "none"]) == 0.5


def test_a_sheet_has_a_word_a_row_beside_lr_of_the_same_height(sets: list[WordSet]) -> None:
    words = sets[0]
    picture = sheet(words, {"bicubic": words.bicubic, "hr": words.hr}, rows=3)
    assert picture.shape == (3 * (64 + 4), 3 * (192 + 4), 3)
    assert np.array_equal(picture[68 : 68 + 64, 392 : 392 + 192], words.hr[1])
    assert np.array_equal(picture[:64:2, :192:2], words.lr[0])
    assert (picture[64:68] == 255).all()


def test_without_held_out_words_there_is_nothing_to_judge_by(path: Path) -> None:
    for changes in ({"held_out": 0.0, "rendered_validation": 1}, {"held_out": 1e-6}):
        with pytest.raises(DataError, match=r"data\.held_out keeps no word"):
            word_sets(config(path, **changes), SPEC, seed=1)


def test_an_evaluation_scores_the_mean_share_read_and_reads_bicubic_once(sets: list[WordSet]) -> None:
    reader, read = Ink(sets[0]), []
    plain = reader.read
    reader.read = lambda crops: read.append(len(crops)) or plain(crops)  # type: ignore[method-assign,func-returns-value]
    held_out = HeldOut(sets[:2], [reader], rows=2)

    def predict(lr: np.ndarray) -> np.ndarray:
        assert lr.dtype == np.float32
        return 1.5 * lr.repeat(2, 2).repeat(2, 3) - 0.25  # beyond [0, 1]

    first, second = (held_out.evaluate(predict) for _ in range(2))
    assert len(read) == 2 * 2 + 2
    assert first.values == second.values
    assert set(first.values) == set(held_out.columns)
    assert (
        first.score
        == first.values["val_words"]
        == np.mean([first.values[f"val_{n}_ink"] for n in ("sharp", "mild")])
    )
    assert first.values["val_psnr_bicubic"] == pytest.approx(
        np.mean([psnr(words, words.bicubic) for words in sets[:2]])
    )
    assert first.sheet is not None
    assert first.sheet.shape == (2 * 2 * 68, 4 * 196, 3)
    assert HeldOut(sets[:1], [reader], rows=0).evaluate(predict).sheet is None
