"""Real recognisers behind one protocol: they read, in order, without a network, and say what is missing."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from training import ocr
from training.errors import ConfigError, DataError, MissingExtra

WORDS = ["Harbour", "EXIT", "2048", "coffee"]


def written(word: str, height: int = 48) -> np.ndarray:
    """The word in dark blue on pale yellow: wrong colour orders and empty crops would show."""
    (width, tall), base = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, 1.2, 2)
    crop = np.full((tall + base + 16, width + 16, 3), (250, 245, 200), np.uint8)
    cv2.putText(crop, word, (8, tall + 8), cv2.FONT_HERSHEY_DUPLEX, 1.2, (20, 30, 90), 2, cv2.LINE_AA)
    return cv2.resize(crop, (round(crop.shape[1] * height / crop.shape[0]), height), interpolation=cv2.INTER_AREA)


@pytest.fixture(params=list(ocr.READERS), scope="module")
def reader(request: pytest.FixtureRequest) -> Iterator[ocr.ConfidentReader]:
    def no_network(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a recogniser opened a network connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", no_network)
        try:
            yield ocr.READERS[request.param]()
        except MissingExtra as missing:
            pytest.skip(str(missing))


def test_clear_words_are_read_in_order_without_a_network(reader: ocr.TextReader) -> None:
    assert [text.lower() for text in reader.read([written(word) for word in WORDS])] == [w.lower() for w in WORDS]


def test_a_crop_is_read_the_same_alone_and_among_others(reader: ocr.TextReader) -> None:
    crops = [written("coffee"), written("EXIT", height=16), written("Harbour" * 3, height=20)]
    assert reader.read(crops) == [reader.read([crop])[0] for crop in crops]


def test_reading_is_silent(reader: ocr.TextReader, capfd: pytest.CaptureFixture[str]) -> None:
    reader.read([written("coffee")])
    assert capfd.readouterr() == ("", "")


def test_a_blank_crop_keeps_its_place(reader: ocr.TextReader) -> None:
    blank = np.full((32, 128, 3), 200, np.uint8)
    texts = reader.read([blank, written("coffee"), blank])
    assert len(texts) == 3
    assert texts[1] == "coffee"


def test_a_reader_is_surer_of_a_clear_word_than_of_a_smeared_one(reader: ocr.ConfidentReader) -> None:
    clear, smeared = written("Harbour"), np.asarray(cv2.GaussianBlur(written("Harbour"), (0, 0), 6), np.uint8)
    (text, sure), (_, unsure) = reader.read_with_confidence([clear, smeared])
    assert (text.lower(), reader.read([clear])) == ("harbour", [text])
    assert 1 >= sure > unsure >= 0


def test_no_crops_give_no_texts(reader: ocr.TextReader) -> None:
    assert reader.read([]) == []


@pytest.mark.parametrize(
    ("name", "package"), [("rapidocr-v6", "rapidocr"), ("rapidocr-v4", "rapidocr_onnxruntime")]
)
def test_a_missing_package_is_named(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"needs the package {package}, which is not installed.*\[ocr\]"):
        ocr.open_reader(name)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(MissingExtra, match="apt-get install tesseract-ocr"):
        ocr.open_reader("tesseract")


def test_an_unknown_recogniser_is_named_before_any_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ocr.READERS, "tesseract", lambda: pytest.fail("opened"))
    with pytest.raises(ConfigError, match=r"no recogniser 'abbyy'; known are .*tesseract, crnn:FILE\.pth"):
        ocr.open_readers(["tesseract", "abbyy"])


def leave(command: list[str], texts: str, words: Sequence[tuple[int, float, str]] = ()) -> None:
    """The files of a run of Tesseract. words: page, confidence in %, text."""
    Path(f"{command[2]}.txt").write_text(texts)
    rows = [("page_num", "conf", "text"), *words]
    Path(f"{command[2]}.tsv").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("code", "texts", "stderr", "message"),
    [
        (1, "", "Tesseract couldn't load any languages!\n", "code 1: Tesseract couldn't load any languages!"),
        (0, "one\n\ftwo\n", "", "returned 2 texts for 1 crops"),
    ],
)
def test_a_failing_tesseract_is_reported(
    monkeypatch: pytest.MonkeyPatch, code: int, texts: str, stderr: str, message: str
) -> None:
    def run(command: list[str], **options: object) -> "subprocess.CompletedProcess[str]":
        if "--version" not in command:
            leave(command, texts)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(shutil, "which", lambda program: "/usr/bin/tesseract")
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataError, match=message):
        ocr.open_reader("tesseract").read([written("exit")])


def test_the_confidence_of_several_words_is_their_mean_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: object) -> "subprocess.CompletedProcess[str]":
        if "--version" not in command:
            leave(command, "a bcd\n\f \n", [(1, -1, ""), (1, 90, "a"), (1, 50, "bcd"), (2, 95, " ")])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(shutil, "which", lambda program: "/usr/bin/tesseract")
    monkeypatch.setattr(subprocess, "run", run)
    crops = [written("exit"), np.zeros((64, 60, 3), np.uint8)]
    assert ocr.Tesseract().read_with_confidence(crops) == [("a bcd", 0.6), ("", 0)]


def test_a_picture_that_crashes_tesseract_is_read_as_nothing_and_spares_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second picture of any list; the program takes the whole list with it."""

    def run(command: list[str], **options: object) -> "subprocess.CompletedProcess[str]":
        if "--version" in command:
            return subprocess.CompletedProcess(command, 0, "tesseract 5", "")
        widths = [np.asarray(cv2.imread(name)).shape[1] for name in Path(command[1]).read_text().split()]
        leave(command, "\f".join("word\n" for _ in widths))
        return subprocess.CompletedProcess(command, -8 if 77 in widths else 0, "", "")

    monkeypatch.setattr(shutil, "which", lambda program: "/usr/bin/tesseract")
    monkeypatch.setattr(subprocess, "run", run)
    crops = [np.zeros((64, width, 3), np.uint8) for width in (60, 77, 90)]
    assert ocr.open_reader("tesseract").read(crops) == ["word", "", "word"]
