"""Pair data sets from crops and rendered words: the same samples however often the run was killed."""

import argparse
import io
import logging
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

lmdb = pytest.importorskip("lmdb")
from training import __main__ as command_line  # noqa: E402
from training.data import make  # noqa: E402
from training.data.crops import CropSource, make_pair, sample_seed  # noqa: E402
from training.data.degrade_config import DegradeConfig  # noqa: E402
from training.data.lmdb import Subset, find_subsets  # noqa: E402
from training.data.lmdb_writer import LmdbWriter  # noqa: E402
from training.data.parallel import ordered_map  # noqa: E402
from training.errors import DataError  # noqa: E402


def png(height: int, width: int, seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Ten good crops, one too low, one broken, one missing, one with a label beyond ASCII."""
    folder = tmp_path / "crops"
    folder.mkdir()
    rows = []
    for i in range(10):
        (folder / f"{i}.png").write_bytes(png(28 + 4 * i, 90 - i, seed=i))
        rows.append(f"{i}.png\tWord{i}")
    (folder / "low.png").write_bytes(png(27, 80))
    (folder / "broken.png").write_bytes(png(40, 80)[:70])
    (folder / "cafe.png").write_bytes(png(33, 17))
    rows[3:3] = ["low.png\tlow", "broken.png\tbroken", "missing.png\tmissing", "cafe.png\tCafé"]
    (folder / "labels.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def run(*arguments: object) -> int:
    return command_line.main(["make-data", *map(str, arguments), "--workers", "1"])


def stored(folder: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())


def test_good_crops_are_written_in_order_and_the_rest_is_counted(
    crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert run(crops, tmp_path / "pairs") == 0
    labels = [sample.label for sample in Subset(tmp_path / "pairs")]
    assert labels == ["Word0", "Word1", "Word2", "Café", *(f"Word{i}" for i in range(3, 10))]
    assert "11 samples, left out 2 unreadable, 1 too low" in capsys.readouterr().out
    assert "broken.png cannot be decoded" in caplog.text
    assert "missing.png is not there" in caplog.text


def test_pairs_have_hr_of_height_32_and_lr_of_half_its_sides(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "pairs")
    for sample in Subset(tmp_path / "pairs"):
        assert sample.hr.shape[0] == 32
        assert sample.lr is not None
        assert sample.lr.shape == (16, sample.hr.shape[1] // 2, 3)


def test_a_tar_gives_what_its_folder_gives(crops: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "crops.tar", "w") as archive:
        archive.add(crops, arcname=".")
    run(crops, tmp_path / "a")
    run(tmp_path / "crops.tar", tmp_path / "b")
    assert [s.hr.tobytes() for s in Subset(tmp_path / "a")] == [s.hr.tobytes() for s in Subset(tmp_path / "b")]


@pytest.mark.slow
def test_processes_change_nothing_but_the_speed(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        options = ["--count", "40", "--workers", workers]  # more than the 32 of two messages
        assert command_line.main(["make-data", "rendered", str(tmp_path / workers), *options]) == 0
    assert stored(tmp_path / "1") == stored(tmp_path / "2")


# Waits for its end after 24 samples, of which a transaction has stored 16.
KILLED = """
import sys, time
from training.__main__ import main
from training.data import lmdb_writer
lmdb_writer.COMMIT_EVERY = 16
add = lmdb_writer.LmdbWriter.add
def wait(writer, *args, **kwargs):
    if len(writer) == 24:
        print("waits", flush=True)
        time.sleep(600)
    add(writer, *args, **kwargs)
lmdb_writer.LmdbWriter.add = wait
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, "make-data", "rendered", str(tmp_path / "killed")]
    with subprocess.Popen([*command, "--count", "40", "--workers", "1"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waits\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    with lmdb.open(str(tmp_path / "killed.partial"), readonly=True, lock=False) as environment:
        assert environment.stat()["entries"] > 16
    assert run("rendered", tmp_path / "killed", "--count", 40) == 0
    assert run("rendered", tmp_path / "whole", "--count", 40) == 0
    assert stored(tmp_path / "killed") == stored(tmp_path / "whole")


def test_resuming_passes_over_what_was_left_out(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(crops, tmp_path / "whole")
    limit, add = 6, LmdbWriter.add

    def interrupted(self: LmdbWriter, *args: Any, **kwargs: Any) -> None:
        if len(self) == limit:  # behind the broken, the missing and the low one
            raise KeyboardInterrupt
        add(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(LmdbWriter, "add", interrupted)
        with pytest.raises(SystemExit) as ended:
            run(crops, tmp_path / "resumed")
    assert ended.value.code == 130
    assert "goes on from here" in capsys.readouterr().err
    run(crops, tmp_path / "resumed")
    assert "11 samples, left out 2 unreadable, 1 too low" in capsys.readouterr().out
    assert stored(tmp_path / "resumed") == stored(tmp_path / "whole")


def test_a_finished_data_set_is_not_made_again(
    crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(crops, tmp_path / "pairs")
    assert run(crops, tmp_path / "pairs") == 0
    assert "complete already, 11 samples" in capsys.readouterr().out
    assert run(crops, tmp_path / "pairs", "--seed", 5) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_data_set_that_is_cut_short_is_not_taken_for_finished(
    crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(crops, tmp_path / "pairs")
    file = tmp_path / "pairs" / "data.mdb"
    file.write_bytes(file.read_bytes()[:9000])  # reading on would be a bus error
    assert run(crops, tmp_path / "pairs") == 2
    assert "exists already; remove it" in capsys.readouterr().err


def test_several_presets_become_subsets_of_the_same_words(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "test", "--preset", "mild,hard")
    hard, mild = find_subsets([tmp_path / "test"])
    assert (hard.name, mild.name) == ("hard", "mild")
    for a, b in zip(hard, mild, strict=True):
        assert a.hr.tobytes() == b.hr.tobytes()
        assert a.lr is not None
        assert b.lr is not None
        assert a.lr.tobytes() != b.lr.tobytes()


def test_single_crops_keep_their_size(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "words", "--single")
    samples = list(Subset(tmp_path / "words"))
    assert [sample.lr for sample in samples] == [None] * 11
    assert samples[0].hr.shape == (28, 90, 3)


def test_leaving_a_crop_out_changes_no_other(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "all")
    run(crops, tmp_path / "tall", "--min-height", 50)
    everything = {sample.label: sample.lr for sample in Subset(tmp_path / "all")}
    for sample in Subset(tmp_path / "tall"):
        np.testing.assert_array_equal(sample.lr, everything[sample.label])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "nowhere does not exist"),
        ("empty", "empty has no labels.tsv"),
        ("text.txt", "text.txt is neither a folder nor a whole tar"),
        ("untabbed", "line 2 of labels.tsv has no tab: 'b.png b'"),
    ],
)
def test_a_wrong_source_is_one_sentence_and_code_2(
    tmp_path: Path, source: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no tar")
    (tmp_path / "untabbed").mkdir()
    (tmp_path / "untabbed" / "labels.tsv").write_text("a.png\ta\nb.png b\n")
    assert run(tmp_path / source, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


WORDS = [
    ("a.png", "Word"),
    ("b.png", '"SCAN"'),
    ("c.png", "Café"),
    ("d.png", 'say "hi"'),
    ("e.png", "1,000"),
    ("f.png", "a\u2028b"),
]


@pytest.mark.parametrize(
    "table",
    [
        "".join(f"{name}\t{text}\n" for name, text in WORDS),
        "\ufeff" + "".join(f"{name}\t{text}  \r\n" for name, text in WORDS) + "\r\n",
        "\r".join(f"{name} \t {text}" for name, text in WORDS),
        "".join(f'"{name}"\t"{text.replace(chr(34), 2 * chr(34))}"\r\n' for name, text in WORDS),
        "".join(f'"{name}\t{text.replace(chr(34), 2 * chr(34))}"\r\n' for name, text in WORDS),
        'a.png\tWord\r\nb.png\t"""SCAN"""\r\nc.png\tCafé\r\nd.png\t"say ""hi"""\r\n'
        'e.png\t"1,000"\r\nf.png\ta\u2028b',
    ],
    ids=[
        "plain",
        "byte order mark, CRLF, spaces",
        "CR",
        "quoted fields",
        "quoted lines",
        "a spreadsheet's quotes",
    ],
)
def test_labels_survive_an_editor_and_a_spreadsheet(tmp_path: Path, table: str) -> None:
    (tmp_path / "labels.tsv").write_bytes(table.encode())
    assert CropSource(tmp_path).entries == WORDS


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("a.png\tWord\n".encode("utf-16"), "labels.tsv is UTF-16; save it as UTF-8"),
        ("a.png\tWord\n".encode("utf-16-be"), "labels.tsv is UTF-16; save it as UTF-8"),
        ("a.png\tWord\nb.png\tCafé\n".encode("latin-1"), "line 2 of labels.tsv is not UTF-8"),
    ],
)
def test_labels_in_another_encoding_are_refused(tmp_path: Path, table: bytes, said: str) -> None:
    (tmp_path / "labels.tsv").write_bytes(table)
    with pytest.raises(DataError, match=said):
        CropSource(tmp_path)


def test_an_unknown_preset_is_named(crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(crops, tmp_path / "out", "--preset", "default,foggy") == 2
    assert "'foggy'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_source_that_lost_samples_is_refused_on_resuming(crops: Path, tmp_path: Path) -> None:
    args = argparse.ArgumentParser()
    make.add_arguments(args)
    parsed = args.parse_args([str(crops), str(tmp_path / "out"), "--workers", "1"])
    job = make._job(parsed, "default")
    few = iter(list(CropSource(crops))[:2])
    with pytest.raises(DataError, match="it has changed"):
        list(make._pass_over(few, job.make_builder(), 3))


def test_a_pair_is_the_same_at_any_size_of_its_crop(shared_dir: Path) -> None:
    """The blur is stated for a height of 32: a crop twice as high must not come out half as blurred."""
    source = CropSource(shared_dir / "data" / "word_crops_val.tar")
    picture = next(crop for crop in list(source) if crop.label == "PROHIBITED")
    small = Image.open(io.BytesIO(picture.content or b"")).convert("RGB").resize((160, 32))
    large = small.resize((320, 64), Image.Resampling.BICUBIC)
    config = DegradeConfig(noise_share=0.0, jpeg_share=0.0, heavy_share=0.0)
    lr = [make_pair(np.asarray(image), config=config, seed=sample_seed(1, "x"))[1] for image in (small, large)]
    assert np.abs(lr[0].astype(int) - lr[1].astype(int)).mean() < 2.0


def test_ordered_map_ends_with_the_first_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        list(ordered_map(_Divider, iter([1, 2, 0, 4]), workers=1))
    assert list(ordered_map(_Divider, iter(range(1, 60)), workers=2)) == [60 / n for n in range(1, 60)]


class _Divider:
    def __call__(self, number: int) -> float:
        return 60 / number


def test_a_process_that_dies_is_one_sentence() -> None:
    with pytest.raises(DataError, match="a process that prepares data died; it may have run out of memory"):
        list(ordered_map(_Dying, range(4), workers=1))


class _Dying:
    def __call__(self, number: int) -> None:
        os._exit(9)  # as a kernel short of memory ends it
