"""Stored crops: which words are kept from training, which crops are too low, and what is said of bad ones."""

import logging
from pathlib import Path

import numpy as np
import pytest

from tests.training.drawn import WORDS, png, write_tar
from training.data.crop_store import CropStore, is_crops, open_roots
from training.data.lmdb import Sample
from training.data.lmdb_writer import LmdbWriter
from training.errors import DataError

LOW, HIGH = np.full((20, 60, 3), 90, np.uint8), np.full((40, 120, 3), 160, np.uint8)


def labels(store: CropStore) -> list[str]:
    return [sample.label for sample in store]


def both(path: Path, share: float) -> tuple[list[str], list[str]]:
    train, held = (CropStore(path, part=part, held_out=share) for part in ("train", "held out"))
    return labels(train), labels(held)


def test_a_word_is_held_out_wherever_and_however_it_is_written(tmp_path: Path) -> None:
    variants = [text for word in WORDS for text in (word, word.upper(), word.lower(), word)]
    path = write_tar(tmp_path / "crops.tar", ((text, HIGH) for text in variants))
    train, held = both(path, 0.4)
    assert sorted(train + held) == sorted(variants)
    assert train
    assert held
    assert not {text.casefold() for text in train} & {text.casefold() for text in held}


def test_words_stay_in_their_part_when_others_come(tmp_path: Path) -> None:
    few = write_tar(tmp_path / "few.tar", ((word, HIGH) for word in WORDS[:8]))
    many = write_tar(tmp_path / "many.tar", ((word, HIGH) for word in reversed(WORDS)))
    train, held = both(few, 0.4)
    more_train, more_held = both(many, 0.4)
    assert set(train) <= set(more_train)
    assert set(held) <= set(more_held)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_the_share_is_of_the_words(share: float, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "crops.tar", ((f"word {number}", png(HIGH)) for number in range(1000)))
    train, held = both(path, share)
    assert len(train) + len(held) == 1000
    assert len(held) == pytest.approx(1000 * share, abs=3 * (1000 * share * (1 - share)) ** 0.5)


def test_crops_too_low_to_be_an_hr_are_a_store_of_their_own(tmp_path: Path) -> None:
    crops = [("low", LOW), ("high", HIGH), ("27 px", HIGH[:27]), ("28 px", HIGH[:28])]
    path = write_tar(tmp_path / "crops.tar", crops)
    assert labels(CropStore(path)) == ["high", "28 px"]
    assert labels(CropStore(path, low=True)) == ["low", "27 px"]


def test_a_crop_is_read_by_its_number_as_it_was_stored(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (30, 70, 3), np.uint8)
    store = CropStore(write_tar(tmp_path / "crops.tar", [("a", HIGH), ("b", rgb)]))
    found = store.read(1)
    assert isinstance(found, Sample)
    assert (len(store), store.name, found.label, found.lr) == (2, "crops", "b", None)
    assert np.array_equal(found.hr, rgb)


def test_an_unreadable_crop_is_told_of_counted_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crops: list[tuple[str, np.ndarray | bytes | None]] = [
        ("good", HIGH),
        ("broken", b"no picture"),
        ("absent", None),
    ]
    store = CropStore(write_tar(tmp_path / "crops.tar", crops))
    with caplog.at_level(logging.WARNING):
        assert labels(store) == ["good"]
    assert (len(store), store.unreadable) == (3, 2)
    broken, absent = (record.message for record in caplog.records)
    assert broken.startswith("skipped: 1.png cannot be decoded")
    assert absent == "skipped: 2.png is not there"
    assert len(CropStore(tmp_path / "crops.tar", low=True)) == 0


def test_a_folder_a_tar_and_an_lmdb_are_opened_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(HIGH))
    (folder / "labels.tsv").write_text("a.png\tin the folder\n")
    tar = write_tar(tmp_path / "crops.tar", [("in the tar", HIGH)])
    with LmdbWriter(tmp_path / "pairs", recipe="test") as writer:
        writer.add("in the lmdb", hr=HIGH)
    roots = [tar, tmp_path / "pairs", folder]
    assert [is_crops(root) for root in roots] == [True, False, True]
    found = [root.read(0) for root in open_roots(roots)]
    assert [sample.label for sample in found if sample] == ["in the tar", "in the lmdb", "in the folder"]


def test_a_root_that_is_nothing_of_the_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no tar")
    for name in ("absent", "notes.txt"):
        with pytest.raises(DataError, match=name):
            open_roots([tmp_path / name])
