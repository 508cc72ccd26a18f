"""Word crops in TextZoom's LMDB layout: what is written is read, and what is broken is named."""

import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from tests.conftest import REPOSITORY
from training.errors import DataError

lmdb = pytest.importorskip("lmdb")
from training.data.lmdb import Sample, Subset, find_subsets  # noqa: E402
from training.data.lmdb_writer import LmdbWriter, encode_png  # noqa: E402


def crop(value: int, height: int = 16, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(value)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def write(folder: Path, words: int) -> Path:
    with LmdbWriter(folder, recipe="test") as writer:
        for i in range(len(writer), words):
            writer.add(f"word{i}", hr=crop(i, 32, 128), lr=crop(i))
    return folder


def tamper(folder: Path, changes: dict[bytes, bytes | None]) -> None:
    with lmdb.open(str(folder)) as environment, environment.begin(write=True) as transaction:
        for key, value in changes.items():
            transaction.delete(key) if value is None else transaction.put(key, value)


pictures = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
words = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=25)
@given(st.lists(st.tuples(words, pictures, st.none() | pictures), min_size=1, max_size=5))
def test_what_is_written_is_read(items: list[tuple[str, np.ndarray, np.ndarray | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with LmdbWriter(Path(folder, "set"), recipe="any") as writer:
            for label, hr, lr in items:
                writer.add(label, hr=hr, lr=lr)
        subset = Subset(Path(folder, "set"))
        assert len(subset) == len(items)
        for sample, (label, hr, lr) in zip(subset, items, strict=True):
            assert sample.label == label
            np.testing.assert_array_equal(sample.hr, hr)
            assert (sample.lr is None) == (lr is None)
            if lr is not None and sample.lr is not None:
                np.testing.assert_array_equal(sample.lr, lr)
        assert [subset.label(i) for i in range(len(subset))] == [label for label, _, _ in items]


def test_keys_are_those_of_textzoom(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", 2)
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
        assert transaction.get(b"num-samples") == b"2"
        assert transaction.get(b"label-000000001") == b"word0"
        stored = transaction.get(b"image_lr-000000002")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored))), crop(1))


def test_subsets_of_several_roots_are_found_sorted_and_named_by_folder(tmp_path: Path) -> None:
    for name in ("test/medium", "test/easy", "test/hard", "train2", "train1"):
        write(tmp_path / name, 1)
    names = [subset.name for subset in find_subsets([tmp_path / "train1", tmp_path / "test"])]
    assert names == ["train1", "easy", "hard", "medium"]
    whole = [subset.name for subset in find_subsets([tmp_path])]
    assert whole == ["test/easy", "test/hard", "test/medium", "train1", "train2"]


def test_an_unreadable_sample_is_skipped_counted_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path / "set", 5)
    broken_png = encode_png(crop(0))[:60]
    tamper(
        folder,
        {
            b"image_lr-000000001": b"not a picture",
            b"image_hr-000000002": broken_png,
            b"image_hr-000000003": None,
            b"label-000000004": b"\xff\xfe",
        },
    )
    subset = Subset(folder)
    with caplog.at_level(logging.WARNING):
        assert [sample.label for sample in subset] == ["word4"]
    assert subset.unreadable == 4
    assert "sample 3" in caplog.text
    assert str(folder) in caplog.text


def test_a_wrong_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        find_subsets([tmp_path / "nowhere"])
    (tmp_path / "begun.partial").mkdir()
    with pytest.raises(DataError, match=r"begun is half-written: only begun\.partial is there"):
        find_subsets([tmp_path / "begun"])
    with pytest.raises(DataError, match="holds no LMDB"):
        find_subsets([tmp_path])
    with pytest.raises(DataError, match=r"no data\.mdb"):
        Subset(tmp_path)


def test_a_file_that_is_no_lmdb_is_named(tmp_path: Path) -> None:
    for content in (b"", b"x" * 20000):
        (tmp_path / "data.mdb").write_bytes(content)
        with pytest.raises(DataError, match=f"{tmp_path} cannot be opened"):
            find_subsets([tmp_path])


def test_a_truncated_copy_is_refused_before_it_kills_the_process(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", 50)
    size = (folder / "data.mdb").stat().st_size
    os.truncate(folder / "data.mdb", size // 2)
    with pytest.raises(DataError, match=f"half-written: data.mdb has {size // 2} of {size} bytes"):
        find_subsets([folder])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({b"num-samples": None}, "no num-samples"),
        ({b"num-samples": b"0"}, "num-samples '0'"),
        ({b"num-samples": b"many"}, "num-samples 'many'"),
        ({b"label-000000003": None}, "num-samples is 3, but the last has no label"),
    ],
)
def test_a_count_that_cannot_be_true_is_named(
    tmp_path: Path, changes: dict[bytes, bytes | None], message: str
) -> None:
    folder = write(tmp_path / "set", 3)
    tamper(folder, changes)
    with pytest.raises(DataError, match=message):
        Subset(folder)


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from training.data import lmdb_writer
from tests.training.test_lmdb import crop
lmdb_writer.COMMIT_EVERY = 4
with lmdb_writer.LmdbWriter(Path(sys.argv[1]), recipe="test") as writer:
    for i in range(10):
        writer.add(f"word{i}", hr=crop(i, 32, 128), lr=crop(i))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_nothing_to_read_and_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    ended = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(folder)], check=False)
    assert ended.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match="holds no LMDB"):
        find_subsets([tmp_path])
    with LmdbWriter(folder, recipe="test") as writer:
        assert len(writer) == 8  # two transactions of four; the last two samples were never promised
        for i in range(len(writer), 12):
            writer.add(f"word{i}", hr=crop(i, 32, 128), lr=crop(i))
    assert [sample.label for sample in Subset(folder)] == [f"word{i}" for i in range(12)]
    assert not (tmp_path / "set.partial").exists()


def test_a_partial_that_was_renamed_by_hand_is_still_refused(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(tmp_path / "set")], check=False)
    (tmp_path / "set.partial").rename(tmp_path / "set")
    with pytest.raises(DataError, match="no num-samples"):
        find_subsets([tmp_path])


def test_a_writer_killed_just_before_the_rename_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "set", 3)
    write(tmp_path / "set", 5)
    assert len(list(Subset(tmp_path / "set"))) == 5


def write_one_then_fail(folder: Path, recipe: str) -> None:
    with LmdbWriter(folder, recipe=recipe) as writer:
        writer.add("one", hr=crop(1), lr=crop(1))
        raise ZeroDivisionError


def test_a_failing_source_keeps_what_was_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_one_then_fail(tmp_path / "set", "test")
    with LmdbWriter(tmp_path / "set", recipe="test") as writer:
        assert len(writer) == 1


def test_two_recipes_never_mix(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_one_then_fail(tmp_path / "set", "seed 1")
    with pytest.raises(DataError, match="begun as 'seed 1', not 'seed 2'"):
        LmdbWriter(tmp_path / "set", recipe="seed 2")


def test_finished_or_empty_data_is_not_overwritten_or_made(tmp_path: Path) -> None:
    write(tmp_path / "set", 1)
    with pytest.raises(DataError, match="exists already"):
        LmdbWriter(tmp_path / "set", recipe="test")
    with pytest.raises(DataError, match="no sample was written"), LmdbWriter(tmp_path / "new", recipe="test"):
        pass


def test_two_writers_at_once_are_told_apart(tmp_path: Path) -> None:
    """The environment is shared inside one process, so the other writer is a tampered count."""
    writer = LmdbWriter(tmp_path / "set", recipe="test")
    writer.add("one", hr=crop(1))
    with writer._environment.begin(write=True) as transaction:
        transaction.put(b"partial-written", b"7")
    with pytest.raises(DataError, match="another process is writing"):
        writer.finish()


def test_the_map_grows_with_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.lmdb_writer.FIRST_MAP_BYTES", 1 << 16)
    assert len(list(Subset(write(tmp_path / "set", 60)))) == 60


def read_word(subset: Subset) -> str:
    sample = subset.read(1)
    assert isinstance(sample, Sample)
    return sample.label


READ = """
import multiprocessing, sys
from pathlib import Path
from tests.training.test_lmdb import Subset, read_word
if __name__ == "__main__":
    subset = Subset(Path(sys.argv[1]))
    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
        print(*pool.map(read_word, [subset] * 4))
"""


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_an_open_subset(tmp_path: Path, start: str) -> None:
    """Of a process without threads: those that other tests' libraries start here do not survive a fork."""
    (tmp_path / "read.py").write_text(READ)
    write(tmp_path / "set", 2)
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    read = subprocess.run(
        [sys.executable, str(tmp_path / "read.py"), str(tmp_path / "set"), start],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **single},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert read.returncode == 0, read.stderr
    assert read.stdout.split() == ["word1"] * 4


def test_a_subset_goes_to_other_processes_by_pickling(tmp_path: Path) -> None:
    subset = Subset(write(tmp_path / "set", 2))
    assert read_word(subset) == read_word(pickle.loads(pickle.dumps(subset))) == "word1"


def test_one_folder_may_be_open_twice(tmp_path: Path) -> None:
    first, second = (Subset(write(tmp_path / "set", 2)), Subset(tmp_path / "set"))
    first.close()
    assert read_word(second) == read_word(first) == "word1"


def test_a_sample_out_of_range_is_an_index_error(tmp_path: Path) -> None:
    with pytest.raises(IndexError, match="sample 2 of 2"):
        Subset(write(tmp_path / "set", 2)).read(2)
