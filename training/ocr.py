"""Published text recognisers, which measure whether super-resolution helps reading and not only PSNR.

    readers = open_readers(["rapidocr-v6", "tesseract"])
    for reader in readers:
        print(reader.name, text_figures(reader.read(crops), labels).accuracy)

Each reads whole word crops, without text detection, and gives its confidence in each text. A recogniser's library
is imported when it is opened. The
wheels contain the PP-OCR weights: nothing is downloaded. Each runs in one thread: a word is too small to share,
and on a busy machine two threads wait for each other (28 ms a word against 75).
"""

from __future__ import annotations

import csv
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from model_store.pixels import Rgb, resize
from training.errors import ConfigError, DataError, MissingExtra
from training.optional import needs


class TextReader(Protocol):
    """Reads words. name: its name in reports. version: of the library, program or weights behind it."""

    name: str
    version: str

    def read(self, crops: Sequence[Rgb]) -> list[str]:
        """The text of each crop, uint8 (H, W, 3) RGB of any size, in order; "" if nothing was read.

        The reading of a crop does not depend on the rest of the batch.
        """


class Reading(NamedTuple):
    """confidence: the recogniser's own, in [0, 1]; 0 for an empty text."""

    text: str
    confidence: float


NOTHING = Reading("", 0.0)


@runtime_checkable
class ConfidentReader(TextReader, Protocol):
    def read_with_confidence(self, crops: Sequence[Rgb]) -> list[Reading]:
        """As `read`, with the recogniser's confidence in each text."""


class _Reads:
    """`read` for the recognisers that give confidences."""

    def read(self, crops: Sequence[Rgb]) -> list[str]:
        return [reading.text for reading in self.read_with_confidence(crops)]

    def read_with_confidence(self, crops: Sequence[Rgb]) -> list[Reading]:
        raise NotImplementedError


class RapidOcrV6(_Reads):
    """PP-OCRv6 small recognition through the package rapidocr."""

    name = "rapidocr-v6"

    def __init__(self) -> None:
        threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
        with needs(self.name, "rapidocr", extra="ocr"):
            from rapidocr import RapidOCR

            self._engine: Any = RapidOCR(params=threads)
        self.version = version("rapidocr")
        _quieten()

    def read_with_confidence(self, crops: Sequence[Rgb]) -> list[Reading]:
        return [self._read_one(crop) for crop in crops]

    def _read_one(self, crop: Rgb) -> Reading:
        output = self._engine(_bgr(crop), use_det=False, use_cls=False, use_rec=True)
        return _reading(output.txts[0], output.scores[0]) if output.txts else NOTHING


class RapidOcrV4(_Reads):
    """PP-OCRv4 mobile recognition through the package rapidocr-onnxruntime."""

    name = "rapidocr-v4"

    def __init__(self) -> None:
        # --no-deps: its dependencies include opencv-python, which overwrites the headless build.
        also = ", then pip install --no-deps rapidocr-onnxruntime"
        with needs(self.name, "rapidocr_onnxruntime", extra="ocr", also=also):
            from rapidocr_onnxruntime import RapidOCR

            self._engine: Any = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
        self.version = version("rapidocr-onnxruntime")
        _quieten()

    def read_with_confidence(self, crops: Sequence[Rgb]) -> list[Reading]:
        return [self._read_one(crop) for crop in crops]

    def _read_one(self, crop: Rgb) -> Reading:
        lines, _ = self._engine(_bgr(crop), use_det=False, use_cls=False, use_rec=True)
        return _reading(lines[0][0], lines[0][1]) if lines else NOTHING


class _Crashed(Exception):
    """A signal ended Tesseract."""


class Tesseract(_Reads):
    """Tesseract 5, the program `tesseract` on the path, with its English model or that of another language.

    Crops are first enlarged to a height of 64 by bicubic: Tesseract does not scale them, and super-resolution
    should get no credit for size alone. One process reads all crops and so loads the model once. English uses word
    mode (`--psm 8`), which read 69 % of 300 IIIT5K words; line mode read 65 %. The confidence of several words is
    the mean of theirs, weighted by length.
    """

    name = "tesseract"
    HEIGHT = 64  # pixels; reads 73 % of 300 IIIT5K words, against 71 % at 48 and 72 % without scaling

    def __init__(self, language: str = "eng") -> None:
        """language: Tesseract's name, such as chi_sim, simplified Chinese. All but English use line mode."""
        program = shutil.which("tesseract")
        if program is None:
            raise MissingExtra(f"{self.name} needs the program tesseract: apt-get install tesseract-ocr")
        self._program = program
        self._language = language
        if language != "eng" and language not in self._output_of("--list-langs").split():
            package = f"tesseract-ocr-{language.replace('_', '-')}"
            raise MissingExtra(f"{self.name} has no language {language}: apt-get install {package}")
        version = self._output_of("--version").split("\n")[0].removeprefix(self.name).strip() or "unknown"
        self.version = version if language == "eng" else f"{version} {language}"

    def _output_of(self, option: str) -> str:
        return subprocess.run([self._program, option], capture_output=True, text=True, check=False).stdout

    def read_with_confidence(self, crops: Sequence[Rgb]) -> list[Reading]:
        if not crops:
            return []
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder, f"{index}.png")) for index in range(len(crops))]
            for file, crop in zip(files, crops, strict=True):
                width = max(1, round(crop.shape[1] * self.HEIGHT / crop.shape[0]))
                Image.fromarray(resize(crop, height=self.HEIGHT, width=width)).save(file, compress_level=1)
            listed = Path(folder, "crops.txt")
            listed.write_text("\n".join(files) + "\n")
            try:
                texts, sure = self._run(listed)
            except _Crashed:  # Tesseract 5.3 divides by zero on a few blurred pictures
                alone = [self.read_with_confidence([crop]) for crop in crops] if len(crops) > 1 else [[NOTHING]]
                return [reading for readings in alone for reading in readings]
        if len(texts) != len(crops):
            raise DataError(f"tesseract returned {len(texts)} texts for {len(crops)} crops")
        return [_reading(text.strip(), sure.get(page, 0.0)) for page, text in enumerate(texts, 1)]

    def _run(self, listed: Path) -> tuple[list[str], dict[int, float]]:
        """The text of each crop, and the confidence by the crop's number, from 1."""
        out = listed.with_name("read")
        command = [self._program, str(listed), str(out), "-l", self._language]
        command += ["--psm", "8" if self._language == "eng" else "7", "--dpi", "70", "txt", "tsv"]
        # One thread: on crops this small its threads only wait for each other.
        environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if ended.returncode < 0:
            raise _Crashed(-ended.returncode)
        if ended.returncode:
            last = ended.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise DataError(f"tesseract failed with code {ended.returncode}: {last[0]}")
        words = out.with_suffix(".tsv").read_text(encoding="utf-8")
        return out.with_suffix(".txt").read_text(encoding="utf-8").split("\f"), _confidences(words)


def _confidences(tsv: str) -> dict[int, float]:
    """Mean confidence of the words of each page, weighted by their lengths, in [0, 1]."""
    words: dict[int, list[tuple[int, float]]] = {}
    for row in csv.DictReader(tsv.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        if float(row["conf"]) >= 0 and row["text"].strip():  # -1: a block or a line
            words.setdefault(int(row["page_num"]), []).append((len(row["text"]), float(row["conf"]) / 100))
    return {
        page: sum(length * sure for length, sure in own) / sum(length for length, _ in own)
        for page, own in words.items()
    }


READERS: dict[str, Callable[[], ConfidentReader]] = {
    RapidOcrV6.name: RapidOcrV6,
    RapidOcrV4.name: RapidOcrV4,
    Tesseract.name: Tesseract,
}
CRNN = "crnn:"  # followed by the path of FudanOCR's weights


def open_reader(name: str) -> TextReader:
    """Open a recogniser by name. Raises ConfigError for an unknown name, MissingExtra for a missing package."""
    return open_readers([name])[0]


def open_readers(names: Sequence[str]) -> list[TextReader]:
    """Open several recognisers, so that a missing one is reported before the first is used."""
    for name in names:
        if name not in READERS and not name.startswith(CRNN):
            raise ConfigError(f"there is no recogniser {name!r}; known are {', '.join(READERS)}, {CRNN}FILE.pth")
    return [READERS[name]() if name in READERS else _crnn(name.removeprefix(CRNN)) for name in names]


def _crnn(weights: str) -> TextReader:
    from training.crnn import Crnn  # Paddle takes seconds to import, needless for the other readers

    return Crnn(Path(weights))


def _reading(text: object, confidence: float) -> Reading:
    return Reading(str(text), round(float(confidence), 4)) if text else NOTHING


def _quieten() -> None:
    """Silence INFO lines: both packages use one logger, and each resets its level when imported."""
    logging.getLogger("RapidOCR").setLevel(logging.WARNING)


def _bgr(crop: Rgb) -> Rgb:
    """RGB -> BGR, OpenCV's order, on which PP-OCR was trained."""
    return np.ascontiguousarray(crop[:, :, ::-1])
