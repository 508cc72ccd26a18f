"""Readings of recognisers, kept on disk: evaluations can be continued, and HR is read once for all weights.

    with Readings(out / "readings.jsonl") as readings:
        texts = readings.read(reader, crops, label="rapidocr-v6 SR")

Each line is one reading: the reader with its version, the picture's digest, the text. A line cut short by a kill
is ignored, and its crop is read again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from model_store.pixels import Rgb
from training.errors import DataError
from training.ocr import TextReader

CHUNK = 24  # crops between two writes, a second or two; Tesseract starts once per chunk


class Readings:
    """A file of readings that grows as crops are read. Raises DataError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._known: dict[tuple[str, str], str] = {}
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
        source = f"{reader.name} {reader.version}"
        keys = [(source, _digest(crop)) for crop in crops]
        new = {key: crop for key, crop in zip(keys, crops, strict=True) if key not in self._known}
        missing = list(new)
        with tqdm(total=len(missing), desc=label, unit="crop", disable=None, leave=False) as bar:
            for start in range(0, len(missing), CHUNK):
                chunk = missing[start : start + CHUNK]
                self._keep(chunk, reader.read([new[key] for key in chunk]))
                bar.update(len(chunk))
        return [self._known[key] for key in keys]

    def __enter__(self) -> Readings:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _keep(self, keys: Sequence[tuple[str, str]], texts: Sequence[str]) -> None:
        for (source, digest), text in zip(keys, texts, strict=True):
            self._known[source, digest] = text
            self._file.write(json.dumps([source, digest, text]) + "\n")
        self._file.flush()

    def _load(self, lines: str) -> None:
        for line in lines.split("\n"):
            try:
                source, digest, text = json.loads(line)
            except (ValueError, TypeError):
                continue  # blank, or cut short
            self._known[source, digest] = text


def _digest(crop: Rgb) -> str:
    return blake2b(f"{crop.shape}".encode() + crop.tobytes(), digest_size=16).hexdigest()
