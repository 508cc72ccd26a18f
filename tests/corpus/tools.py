"""Common parts of the ways: the files, a service, a folder, and the forms of an outcome.

The model's calibration never super-resolves, so the results for the recogniser "any" are the decoded pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.imaging.quality_gate import QualityGate
from model_store.calibration import ANY, Calibration, Rule
from tests.app.conftest import Server
from tests.corpus.drawing import File, Rgb

Outcome = Rgb | str
Outcomes = dict[str, Outcome]
KEEPS = QualityGate(Calibration({ANY: Rule(min_blur=np.inf, max_noise=np.inf, target_blur=1.8, strength=1)}))
QUERY = f"recogniser={ANY}"


@dataclass(frozen=True)
class Tools:
    """decoded: the outcome of each file by the decoder itself."""

    files: Mapping[str, File]
    decoded: Outcomes
    server: Server
    store: Path
    folder: Path
    patch: pytest.MonkeyPatch

    def readable(self) -> dict[str, Rgb]:
        return {name: found for name, found in self.decoded.items() if not isinstance(found, str)}

    def written(self) -> dict[str, Path]:
        """All files in one folder; their numbers name them."""
        folder = self.folder / "in"
        folder.mkdir()
        paths = {name: folder / f"{number:04d}.png" for number, name in enumerate(self.files)}
        for name, path in paths.items():
            path.write_bytes(self.files[name].data)
        return paths


def pixels(png: bytes) -> Rgb:
    with Image.open(BytesIO(png)) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def problem(fields: dict[str, str]) -> str:
    return f"{fields['code']}: {fields['detail']}"
