"""Readings of recognisers, kept on disk: evaluations can be continued, and HR is read once for all weights.

    with Readings(out / "readings.jsonl") as readings:
        texts = readings.read(reader, crops, label="rapidocr-v6 SR")

Each line is one reading: the reader with its version, the picture's digest, the text, and the confidence if the
reader gives one. A line cut short by a kill is ignored, and its crop is read again. Lines of earlier versions lack
the confidence; their crops are read again only where it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from model_store.pixels import Rgb
from training.errors import DataError
from training.ocr import ConfidentReader, Reading, TextReader

CHUNK = 24  # crops between two writes, a second or two; Tesseract starts once per chunk


Key = tuple[str, str]  # reader with version, digest of the picture


class Readings:
    """A file of readings that grows as crops are read. Raises DataError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._texts: dict[Key, str] = {}
        self._confidences: dict[Key, float] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                self._load(path.read_text(encoding="utf-8", errors="replace"))
            self._file = path.open("a", encoding="utf-8")
            self._file.write("\n")  # ends a line that was cut short; blank lines are ignored
        except OSError as exc:
            raise DataError(f"readings cannot be kept in {path}: {exc}") from exc

    def read(self, reader: TextReader, crops: Sequence[Rgb], *, label: str) -> list[str]:
        """The text of each crop, uint8 (H, W, 3) RGB. `reader` reads only crops without a stored reading."""
        keys = _keys(reader, crops)
        self._add(reader, keys, crops, lambda key: key in self._texts, label=label)
        return [self._texts[key] for key in keys]

    def read_with_confidence(self, reader: ConfidentReader, crops: Sequence[Rgb], *, label: str) -> list[Reading]:
        """As `read`, with the confidence; crops whose stored reading lacks one are read again."""
        keys = _keys(reader, crops)
        self._add(reader, keys, crops, lambda key: key in self._confidences, label=label)
        return [Reading(self._texts[key], self._confidences[key]) for key in keys]

    def _add(
        self,
        reader: TextReader,
        keys: Sequence[Key],
        crops: Sequence[Rgb],
        is_known: Callable[[Key], bool],
        *,
        label: str,
    ) -> None:
        new = {key: crop for key, crop in zip(keys, crops, strict=True) if not is_known(key)}
        missing = list(new)
        with tqdm(total=len(missing), desc=label, unit="crop", disable=None, leave=False) as bar:
            for start in range(0, len(missing), CHUNK):
                chunk = missing[start : start + CHUNK]
                self._keep(chunk, _read(reader, [new[key] for key in chunk]))
                bar.update(len(chunk))

    def __enter__(self) -> Readings:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _keep(self, keys: Sequence[Key], found: Sequence[Reading | tuple[str]]) -> None:
        for key, reading in zip(keys, found, strict=True):
            self._know(key, *reading)
            self._file.write(json.dumps([*key, *reading]) + "\n")
        self._file.flush()

    def _know(self, key: Key, text: str, confidence: float | None = None) -> None:
        self._texts[key] = text
        if confidence is not None:
            self._confidences[key] = confidence

    def _load(self, lines: str) -> None:
        for line in lines.split("\n"):
            try:
                source, digest, *reading = json.loads(line)
                self._know((source, digest), *reading)
            except (ValueError, TypeError):
                continue  # blank, or cut short


def _read(reader: TextReader, crops: Sequence[Rgb]) -> Sequence[Reading | tuple[str]]:
    if isinstance(reader, ConfidentReader):
        return reader.read_with_confidence(crops)
    return [(text,) for text in reader.read(crops)]


def _keys(reader: TextReader, crops: Sequence[Rgb]) -> list[Key]:
    return [(f"{reader.name} {reader.version}", _digest(crop)) for crop in crops]


def _digest(crop: Rgb) -> str:
    return blake2b(f"{crop.shape}".encode() + crop.tobytes(), digest_size=16).hexdigest()
