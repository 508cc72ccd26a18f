"""Readings on disk: a confidence is kept beside its text, and older files without one stay of use."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_store.pixels import Rgb
from training.ocr import Reading
from training.readings import Readings

CROP = np.full((4, 8, 3), 7, np.uint8)


class Counting:
    name, version = "counting", "1"

    def __init__(self) -> None:
        self.seen = 0

    def read(self, crops: Sequence[Rgb]) -> list[str]:
        return [reading.text for reading in self.read_with_confidence(crops)]

    def read_with_confidence(self, crops: Sequence[Rgb]) -> list[Reading]:
        self.seen += len(crops)
        return [Reading("seven", 0.7)] * len(crops)


def test_a_reading_without_a_confidence_is_read_again_only_where_one_is_needed(tmp_path: Path) -> None:
    reader, file = Counting(), tmp_path / "readings.jsonl"
    with Readings(file) as kept:
        kept.read(reader, [CROP], label="")
    source, digest, text, confidence = json.loads(file.read_text())
    assert (text, confidence) == ("seven", 0.7)
    file.write_text(json.dumps([source, digest, text]) + "\n")  # as earlier versions wrote it
    with Readings(file) as kept:
        assert kept.read(reader, [CROP], label="") == ["seven"]
        assert reader.seen == 1
        assert kept.read_with_confidence(reader, [CROP], label="") == [("seven", 0.7)]
    with Readings(file) as kept:
        assert kept.read_with_confidence(reader, [CROP], label="") == [("seven", 0.7)]
    assert reader.seen == 2
