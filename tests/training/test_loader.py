"""Training data: every batch follows from the seed and the step, whatever prepares it."""

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model_store.manifest import PixelSpec
from tests.conftest import REPOSITORY
from training.config import DataConfig
from training.data.lmdb_writer import LmdbWriter, encode_png
from training.data.loader import Loader, validation_batches
from training.data.samples import VALIDATION_EPOCH, Batch, Samples, training_samples, validation_samples
from training.errors import ConfigError, DataError

SPEC = PixelSpec(height=16, width=64, scale=2)


def rendered(count: int = 12, **settings: object) -> Samples:
    config = DataConfig(rendered=count, rendered_validation=3, **settings)  # type: ignore[arg-type]
    return training_samples(config, SPEC, seed=5)


def picture(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write_pairs(folder: Path, count: int, *, broken: tuple[int, ...] = ()) -> Path:
    with LmdbWriter(folder, recipe="test") as writer:
        for i in range(count):
            lr = b"no picture" if i in broken else encode_png(picture(16, 64, 100 + i))
            writer.add(f"pair{i}", hr=picture(32, 128, i), lr=lr)
    return folder


def stored(*folders: Path, **settings: object) -> Samples:
    config = DataConfig(train=folders, rendered_validation=1, **settings)  # type: ignore[arg-type]
    return training_samples(config, SPEC, seed=5)


def same(a: Batch, b: Batch) -> bool:
    return a.labels == b.labels and np.array_equal(a.lr, b.lr) and np.array_equal(a.hr, b.hr)


def take(loader: Loader, count: int, start: int = 0) -> list[Batch]:
    batches = loader.batches(start)
    taken = [next(batches) for _ in range(count)]
    batches.close()
    return taken


def test_a_batch_is_float32_pairs_in_0_1() -> None:
    (batch,) = take(Loader(rendered(), 4, seed=1), 1)
    assert (batch.lr.shape, batch.hr.shape, len(batch.labels)) == ((4, 3, 16, 64), (4, 3, 32, 128), 4)
    assert batch.lr.dtype == batch.hr.dtype == np.float32
    assert batch.hr.min() >= 0 <= batch.hr.max() <= 1
    assert all(batch.labels)


def test_batches_from_the_middle_equal_those_of_an_unbroken_run() -> None:
    whole = take(Loader(rendered(), 4, seed=1), 5)
    later = take(Loader(rendered(), 4, seed=1), 2, start=3)
    assert all(same(a, b) for a, b in zip(whole[3:], later, strict=True))
    assert not same(whole[0], whole[3])


def test_workers_change_nothing() -> None:
    alone = take(Loader(rendered(), 4, seed=1), 4, start=1)
    helped = take(Loader(rendered(), 4, seed=1, workers=1), 4, start=1)
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))


def test_rendered_words_are_new_in_every_epoch() -> None:
    loader = Loader(rendered(4), 4, seed=1, shuffle=False)
    first, second = take(loader, 2)
    assert (loader.plan(0)[0], loader.plan(1)[0]) == (0, 1)
    assert first.labels != second.labels


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 3), st.integers(0, 40), st.booleans())
def test_the_ranks_of_an_epoch_share_its_samples_out(
    batch_size: int, world: int, extra: int, shuffle: bool
) -> None:
    samples = rendered(batch_size * world + extra)
    loaders = [Loader(samples, batch_size, 3, shuffle=shuffle, rank=r, world=world) for r in range(world)]
    steps = loaders[0].steps_per_epoch
    for epoch in (0, 1):
        plans = [loader.plan(epoch * steps + k) for k in range(steps) for loader in loaders]
        numbers = [number for _, chosen in plans for number in chosen]
        assert {found for found, _ in plans} == {epoch}
        assert len(set(numbers)) == len(numbers) == steps * world * batch_size
        assert set(numbers) <= set(range(len(samples)))


def test_shuffling_orders_each_epoch_anew_and_its_absence_none() -> None:
    samples = rendered(64)
    shuffled, plain = Loader(samples, 64, 3), Loader(samples, 64, 3, shuffle=False)
    assert shuffled.plan(0)[1] != shuffled.plan(1)[1] != list(range(64))
    assert plain.plan(0)[1] == plain.plan(1)[1] == list(range(64))


def test_fewer_samples_than_a_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 training samples do not fill one batch of 4"):
        Loader(rendered(3), 2, seed=1, world=2)


def test_stored_pairs_and_rendered_words_mix(tmp_path: Path) -> None:
    samples = stored(write_pairs(tmp_path / "a", 3), write_pairs(tmp_path / "b", 2), rendered=4)
    assert (len(samples), samples.stored) == (9, 5)
    pairs = [samples.pair(number, epoch=0) for number in range(9)]
    labels = [pair.label for pair in pairs if pair is not None]
    assert labels[:5] == ["pair0", "pair1", "pair2", "pair0", "pair1"]
    assert not any(label.startswith("pair") for label in labels[5:])


def test_a_stored_pair_is_given_as_it_is(tmp_path: Path) -> None:
    pair = stored(write_pairs(tmp_path / "a", 1)).pair(0, epoch=3)
    assert pair is not None
    assert np.array_equal(pair.lr, picture(16, 64, 100))
    assert np.array_equal(pair.hr, picture(32, 128, 0))


def test_a_crop_without_lr_is_degraded_anew_in_every_epoch(tmp_path: Path) -> None:
    with LmdbWriter(tmp_path / "crops", recipe="test") as writer:
        writer.add("wide", hr=picture(40, 300, 1))
        writer.add("narrow", hr=picture(40, 9, 2))
    samples = stored(tmp_path / "crops")
    for number in (0, 1):
        first, again, second = (samples.pair(number, epoch=epoch) for epoch in (0, 0, 1))
        assert first is not None
        assert again is not None
        assert second is not None
        assert (first.lr.shape, first.hr.shape) == ((16, 64, 3), (32, 128, 3))
        assert np.array_equal(first.hr, second.hr)
        assert np.array_equal(first.lr, again.lr)
        assert not np.array_equal(first.lr, second.lr)


def test_an_unreadable_sample_is_replaced_by_its_neighbour_and_counted(tmp_path: Path) -> None:
    samples = stored(write_pairs(tmp_path / "a", 5, broken=(1, 2)))
    batch = samples.batch([0, 1, 4], epoch=0)
    assert batch.labels == ("pair0", "pair3", "pair4")
    assert batch.unreadable == 2


def test_data_without_one_readable_sample_is_an_error(tmp_path: Path) -> None:
    samples = stored(write_pairs(tmp_path / "a", 2, broken=(0, 1)))
    with pytest.raises(DataError, match="in a row cannot be read"):
        samples.batch([0], epoch=0)


def test_validation_is_the_same_every_time_and_whole(tmp_path: Path) -> None:
    config = DataConfig(
        rendered=1, validation=(write_pairs(tmp_path / "a", 4, broken=(2,)),), rendered_validation=2
    )
    samples = validation_samples(config, SPEC, seed=5)
    first, second = (list(validation_batches(samples, batch_size=3)) for _ in range(2))
    assert [len(batch.labels) for batch in first] == [3, 2]
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    assert len(list(validation_batches(samples, batch_size=3, limit=2))) == 1


def test_rendered_validation_words_are_not_those_trained_on() -> None:
    samples = rendered()
    trained = {samples.pair(n, epoch=e).hr.tobytes() for n in range(3) for e in range(3)}  # type: ignore[union-attr]
    held = {samples.pair(n, epoch=VALIDATION_EPOCH).hr.tobytes() for n in range(3)}  # type: ignore[union-attr]
    assert not trained & held


def test_a_network_that_does_not_double_is_refused() -> None:
    with pytest.raises(DataError, match="scale is 4"):
        training_samples(DataConfig(rendered=1, rendered_validation=1), replace(SPEC, scale=4), seed=1)


def test_photographs_stand_behind_rendered_words(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(80, 200, 9)).save(buffer, "PNG")
    (tmp_path / "ground.png").write_bytes(buffer.getvalue())
    plain, photographed = rendered(30), rendered(30, grounds=tmp_path)
    hr = [(plain.pair(n, epoch=0), photographed.pair(n, epoch=0)) for n in range(30)]
    assert any(a is not None and b is not None and not np.array_equal(a.hr, b.hr) for a, b in hr)


ORPHANS = """
import sys
from tests.training.test_loader import Loader, rendered
if __name__ == "__main__":
    batches = Loader(rendered(64), 4, seed=1, workers=1).batches()
    next(batches)
    import multiprocessing
    print(multiprocessing.active_children()[0].pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
def test_workers_end_with_a_training_process_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "orphans.py").write_text(ORPHANS)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "orphans.py")],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    assert Path(f"/proc/{worker}").exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
