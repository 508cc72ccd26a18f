"""Words in two halves, and their crops of every height and blur."""

from pathlib import Path

import numpy as np
import pytest

from model_store.blur import estimate
from tests.training.calibration.words import HARBOURS, drawn_words, installed_fonts
from training.calibration.cells import BLURS, CELLS, HEIGHTS, Cell, crop, half_of, words
from training.calibration.rendered import WORDS, render
from training.errors import DataError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return drawn_words(tmp_path / "words")


@pytest.fixture
def faces() -> dict[str, tuple[str, ...]]:
    return installed_fonts()


def test_the_halves_share_no_photograph_and_leave_no_word_out(data: Path) -> None:
    halves = [words(data, half, scripts=["latin"]) for half in ("calibration", "proof")]
    assert all(halves)
    assert sorted(word.label for half in halves for word in half) == sorted(HARBOURS)  # the low one is not sharp
    assert half_of("iiit5k/598_1.jpg") == half_of("iiit5k/598_2.jpg")


def test_words_keep_their_proportion_and_their_seed_in_every_cell(data: Path) -> None:
    found = words(data, "proof", scripts=["latin"])
    assert len(CELLS) == len(HEIGHTS) * len(BLURS)
    for cell in CELLS:
        for word in found:
            made = crop(word, cell, seed=1)
            assert len(made) == cell.height
            assert abs(made.shape[1] - word.rgb.shape[1] / len(word.rgb) * cell.height) <= 1
            assert (made == crop(word, cell, seed=1)).all()


def test_a_blurred_cell_is_measured_as_blurred_as_it_is(data: Path) -> None:
    found = words(data, "proof", scripts=["latin"])
    for height in (24, 48):
        measured = [estimate(crop(word, Cell(height, 0.08), seed=1)).blur for word in found]
        assert np.median(measured) == pytest.approx(0.08 * height, rel=0.25)


@pytest.mark.slow
def test_rendered_scripts_have_words_in_both_halves(
    faces: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred at least, where a font draws them. Small pictures, as they are only counted."""
    monkeypatch.setattr("training.calibration.cells.RENDERED", 8)
    for script in ("digits", "chinese"):
        if not faces[script]:
            pytest.skip(f"no font here draws {script}")
        for half in ("calibration", "proof"):
            assert len(words(Path(), half, scripts=[script], limit=100)) == 100


def test_a_rendered_word_has_the_wanted_blur(faces: dict[str, tuple[str, ...]]) -> None:
    rng = np.random.default_rng(0)
    for blur in (1.0, 3.0):
        pictures = [render(w, font=faces["latin"][0], height=40, blur=blur, rng=rng) for w in WORDS["latin"]]
        assert {len(picture) for picture in pictures} == {40}
        assert np.median([estimate(picture).blur for picture in pictures]) == pytest.approx(blur, rel=0.2)


def test_an_unknown_script_is_named(data: Path) -> None:
    with pytest.raises(DataError, match="no script 'runes'; known are latin, digits, chinese"):
        words(data, "proof", scripts=["runes"])
