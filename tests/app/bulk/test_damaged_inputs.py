"""Damaged units, and files that are no pictures: each is named, and everything else is done."""

import bz2
import gzip
import lzma
import os
import random
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from app.bulk.entries import JobOptions
from app.bulk.kinds import is_picture
from app.imaging.quality_gate import ALWAYS
from tests.app.conftest import png

pytest.importorskip("pyarrow")
pytest.importorskip("lmdb")
from tests.app.bulk.conftest import RGB_PNG, Job
from tests.app.bulk.sets import (
    PNGS,
    check,
    failures,
    read_folder,
    read_lmdb,
    read_tar,
    write_folder,
    write_lmdb,
    write_parquet,
    write_tar,
)

PAGE = 4096
WEBP = JobOptions("webp", "native", ALWAYS, None)


def entries() -> dict[str, bytes]:
    noise = random.Random(0)
    filler = {f"filler-{i:09d}": noise.randbytes(300) for i in range(100)}  # several pages of keys
    return {**{f"image-{int(name):09d}": data for name, data in PNGS.items()}, **filler}


def cut_in_half(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def cut_at_a_page(whole: bytes) -> bytes:
    return whole[: -3 * PAGE]


def empty(whole: bytes) -> bytes:
    return b""


def text(whole: bytes) -> bytes:
    return b"no LMDB" * 1000


def pages_of_zeros(whole: bytes) -> bytes:
    return whole[: 2 * PAGE] + bytes(len(whole) - 2 * PAGE)


def pages_of_noise(whole: bytes) -> bytes:
    return whole[: 2 * PAGE] + random.Random(1).randbytes(len(whole) - 2 * PAGE)


@pytest.mark.parametrize("damage", [cut_in_half, cut_at_a_page, empty, text, pages_of_zeros, pages_of_noise])
def test_a_damaged_lmdb_spares_the_others_and_is_done_when_it_is_mended(
    tmp_path: Path, job: Job, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        write_lmdb(tmp_path / "in" / name, entries())
    file = tmp_path / "in" / "b" / "data.mdb"
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    for _ in range(2):
        assert job() == 1
        assert read_folder(tmp_path / "out").keys() == {"a/data.mdb", "c/data.mdb"}
        (failed,) = failures(tmp_path / "out")
        assert (failed["unit"], failed["code"]) == ("b", "unit_not_done")
        assert f"not done: {failed['detail']}" in capsys.readouterr().err
        assert failed["detail"].startswith("b cannot be read: ")
    file.write_bytes(whole)
    assert job() == 0
    assert read_lmdb(tmp_path / "out" / "b") == read_lmdb(tmp_path / "out" / "a")


def test_an_empty_lmdb_spares_the_others(tmp_path: Path, job: Job) -> None:
    write_lmdb(tmp_path / "in" / "a", {})
    write_lmdb(tmp_path / "in" / "b", entries())
    assert job() == 1
    assert failures(tmp_path / "out")[0]["detail"] == "a cannot be read: data.mdb has no entries"
    assert read_folder(tmp_path / "out").keys() == {"b/data.mdb"}


def test_an_lmdb_that_is_cut_after_the_plan_was_made_is_not_done(tmp_path: Path, job: Job) -> None:
    write_lmdb(tmp_path / "in" / "a", entries())
    assert job() == 0
    (tmp_path / "out" / "_bulk" / "done" / "0000000.json").unlink()
    os.truncate(tmp_path / "in" / "a" / "data.mdb", 3 * PAGE)
    assert job() == 1
    assert "data.mdb has 12288 of" in failures(tmp_path / "out")[0]["detail"]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "empty header at byte 0"),
        (2048 + 100, "truncated header at byte 2048"),
        (2048, "empty header at byte 2048, where a member or the end mark should be"),
        (1536 + 60, "unexpected end of data"),
    ],
)
def test_a_cut_tar_is_not_done_wherever_it_is_cut(tmp_path: Path, job: Job, size: int, said: str) -> None:
    for name in ("cut", "good"):
        write_tar(tmp_path / "in" / f"{name}.tar", {"00.png": PNGS["00"], "01.png": PNGS["01"], "01.txt": b"x"})
    os.truncate(tmp_path / "in" / "cut.tar", size)
    assert job() == 1
    (failed,) = failures(tmp_path / "out")
    assert failed["unit"] == "cut.tar"
    assert said in failed["detail"]
    assert read_folder(tmp_path / "out").keys() == {"good.tar"}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_a_cut_tar_gz_is_not_done(tmp_path: Path, job: Job, share: float) -> None:
    write_tar(tmp_path / "in" / "a.tar.gz", {"00.png": PNGS["00"], "00.txt": random.Random(0).randbytes(9000)})
    os.truncate(tmp_path / "in" / "a.tar.gz", int(share * (tmp_path / "in" / "a.tar.gz").stat().st_size))
    assert job() == 1
    assert "a.tar.gz cannot be read" in failures(tmp_path / "out")[0]["detail"]


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_a_compressed_tar_may_consist_of_several_streams(tmp_path: Path, job: Job, suffix: str) -> None:
    compressors: dict[str, Callable[[bytes], bytes]]
    compressors = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    compress = compressors[suffix]
    write_tar(tmp_path / "a.tar", {name: PNGS[name[:2]] for name in ("00.png", "01.png")})
    whole = (tmp_path / "a.tar").read_bytes()
    streams = b"".join(compress(whole[i : i + 512]) for i in range(0, len(whole), 512))
    write_folder(tmp_path / "in", {f"a.tar.{suffix}": streams})
    assert job() == 0
    assert [name for name, _ in read_tar(tmp_path / "out" / "a.tar")] == ["00.png", "01.png"]


def test_a_damaged_header_within_a_tar_does_not_end_it_silently(tmp_path: Path, job: Job) -> None:
    write_tar(tmp_path / "in" / "a.tar", {"00.png": PNGS["00"], "01.png": PNGS["01"]})
    data = bytearray((tmp_path / "in" / "a.tar").read_bytes())
    data[1024:1030] = b"damage"
    (tmp_path / "in" / "a.tar").write_bytes(data)
    assert job() == 1
    assert "bad checksum at byte 1024" in failures(tmp_path / "out")[0]["detail"]


@pytest.mark.parametrize("damaged", ["cut", "footer", "pages", "other column", "empty"])
def test_a_damaged_parquet_spares_the_others(tmp_path: Path, job: Job, damaged: str) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", image=list(PNGS.values()))
    noise = [random.Random(0).randbytes(900).hex() for _ in PNGS]
    write_parquet(tmp_path / "in" / "b.parquet", image=list(PNGS.values()), text=noise)
    data = bytearray((tmp_path / "in" / "b.parquet").read_bytes())
    if damaged == "cut":
        data = data[: len(data) // 2]
    elif damaged == "footer":
        data[-150:-100] = b"\xff" * 50
    elif damaged == "pages":
        data[4:300] = b"\xff" * 296
    elif damaged == "other column":
        start = data.index(noise[0][:20].encode()) - 40
        data[start : start + 40] = b"\xff" * 40
    else:
        data.clear()
    (tmp_path / "in" / "b.parquet").write_bytes(data)
    assert job() == 1
    (failed,) = failures(tmp_path / "out")
    assert (failed["unit"], failed["code"]) == ("b.parquet", "unit_not_done")
    assert failed["detail"].startswith("b.parquet cannot be read: ")
    assert read_folder(tmp_path / "out").keys() == {"a.parquet"}


@pytest.mark.parametrize("options", [RGB_PNG, WEBP])
def test_the_members_of_a_sample_keep_their_common_name(tmp_path: Path, job: Job, options: JobOptions) -> None:
    stems = ["./00", ".//01", "/abs/02", "a/b.c/03", "./" + "long" * 60 + "/04", "ünï/05", "a/../06"]
    members: dict[str, bytes] = {}
    for stem in stems:
        members |= {f"{stem}.PNG": PNGS[stem[-2:]], f"{stem}.txt": b"label"}
    write_tar(tmp_path / "in" / "a.tar", members)
    assert job(options) == 0
    written = read_tar(tmp_path / "out" / "a.tar")
    assert [name for name, _ in written] == [name.replace("PNG", options.format) for name in members]
    for name, data in written:
        if not name.endswith(".txt"):
            check(data, name.partition(f".{options.format}")[0][-2:])


def test_two_spellings_of_one_name_are_one_picture(tmp_path: Path, job: Job) -> None:
    write_tar(tmp_path / "in" / "a.tar", {"./00.png": PNGS["00"], "00.jpg": PNGS["01"]})
    assert job() == 1
    assert [(f["item"], f["code"]) for f in failures(tmp_path / "out")] == [("00.jpg", "duplicate_name")]


def test_links_follow_the_names_of_their_pictures_and_folders_are_kept(tmp_path: Path, job: Job) -> None:
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "a.tar", "w") as archive:
        for name, kind, target in (
            ("./", tarfile.DIRTYPE, ""),
            ("./00.png", tarfile.REGTYPE, ""),
            ("./bad.png", tarfile.REGTYPE, ""),
            ("./soft.png", tarfile.SYMTYPE, "00.png"),
            ("./hard.png", tarfile.LNKTYPE, "./00.png"),
            ("./hard_to_bad.png", tarfile.LNKTYPE, "./bad.png"),
            ("./readme", tarfile.SYMTYPE, "00.txt"),
            ("./pipe", tarfile.FIFOTYPE, ""),
        ):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, target
            data = {"./00.png": PNGS["00"], "./bad.png": b"no picture"}.get(name, b"")
            header.size = len(data)
            archive.addfile(header, BytesIO(data))
    assert job(WEBP) == 1
    with tarfile.open(tmp_path / "out" / "a.tar") as archive:
        found = [(member.name, member.linkname) for member in archive]
        linked = archive.extractfile("./hard.webp")
        assert linked
        check(linked.read(), "00")
    assert found == [
        (".", ""),
        ("./00.webp", ""),
        ("./soft.webp", "00.webp"),
        ("./hard.webp", "./00.webp"),
        ("./readme", "00.txt"),
    ]


SYSTEM_FILES = {
    "._00.png": b"\0\5\x16\7",
    "__MACOSX/x/._01.png": b"\0\5\x16\7",
    "x/.DS_Store": b"",
    "Thumbs.db": b"",
}
LEFT_OUT = "2 AppleDouble, 1 .DS_Store, 1 Thumbs.db"


def test_system_files_are_left_out_of_a_tar_and_counted_once(
    tmp_path: Path, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tar(tmp_path / "in" / "a.tar", {"00.png": PNGS["00"], **SYSTEM_FILES, "00.txt": b"label"})
    for _ in range(2):
        assert job() == 0
        assert f"4 files left out: {LEFT_OUT}" in capsys.readouterr().err
    assert [name for name, _ in read_tar(tmp_path / "out" / "a.tar")] == ["00.png", "00.txt"]


def test_files_that_are_left_out_of_a_folder_are_counted_also_after_a_restart(
    tmp_path: Path, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "in", {"00.png": PNGS["00"], "notes.TXT": b"", "Makefile": b"", **SYSTEM_FILES})
    for _ in range(2):
        assert job() == 0
        told = capsys.readouterr().err
        assert told.rstrip().endswith(
            "6 files left out: 2 AppleDouble, 1 .DS_Store, 1 .txt, 1 Thumbs.db, 1 without a suffix"
        )


def test_files_beside_shards_are_counted(tmp_path: Path, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    write_tar(tmp_path / "in" / "a.tar", {"00.png": PNGS["00"]})
    write_folder(tmp_path / "in", {"._a.tar": b"\0\5\x16\7", "a.idx": b""})
    assert job() == 0
    assert "2 files left out: 1 .idx, 1 AppleDouble" in capsys.readouterr().err


def test_a_summary_gives_a_reason_for_every_code(
    tmp_path: Path, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "in", {"a.png": b"none", "b.png": b"none", "c.png": png(height=2), "d.png": png()})
    assert job() == 3
    told = capsys.readouterr().err.splitlines()
    assert "1 pictures done, 3 failed, 0 units not done" in told
    assert any(line.startswith("  1 image_too_small, such as c.png: ") for line in told)
    assert any(line.startswith("  2 ") and ", such as a.png: " in line for line in told)


def test_a_folder_that_cannot_be_listed_is_not_done_until_it_can(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "in", {"00.png": PNGS["00"], "closed/01.png": PNGS["01"]})
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).rstrip("/").endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    with monkeypatch.context() as closed:
        closed.setattr(os, "scandir", scandir)  # not by chmod, which does not keep the superuser out
        assert job() == 1
    assert failures(tmp_path / "out")[0]["unit"] == "closed/"
    assert read_folder(tmp_path / "out").keys() == {"00.png"}
    assert job() == 0
    assert read_folder(tmp_path / "out").keys() == {"00.png", "closed/01.png"}


@pytest.mark.parametrize("name", ["a.jfif", "a.JPE", "a.TIF", "a.Apng", "a.mpo", "a.dib", "a/b.GIF", "a b.png"])
def test_every_suffix_that_the_decoder_knows_is_a_picture(name: str) -> None:
    assert is_picture(name)
