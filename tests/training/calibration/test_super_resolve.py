"""Calibration and service treat a crop alike: the same pixels for the same rule."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from app.imaging.quality_gate import QualityGate, RoutingPolicy
from app.inference.runtimes import open_runtime
from app.serving.pipeline import CropOptions, CropPipeline
from model_store import BUNDLED
from model_store.blur import estimate
from model_store.calibration import ANY, Calibration, Rule
from model_store.manifest import PixelSpec
from model_store.pixels import Nchw, Rgb
from model_store.store import ModelStore
from tests.training.calibration.words import drawn_words
from training.calibration.cells import Cell, crop, words
from training.calibration.fit import TREATMENTS
from training.calibration.network import Network, open_network
from training.calibration.super_resolve import treated
from training.data.crops import SEED

SPEC = PixelSpec(height=16, width=64, scale=2)
SIZES = ((16, 64), (24, 96), (32, 128), (48, 192))
CELLS = [Cell(height, blur) for height in (12, 24, 64) for blur in (0.0, 0.05, 0.11)]
Run = Callable[[Nchw], Nchw]


@pytest.fixture
def crops(tmp_path: Path) -> list[Rgb]:
    """Words of every height and blur, an upright line, and two crops without text."""
    drawn = words(drawn_words(tmp_path / "words"), "calibration", scripts=["latin"])
    found = [crop(word, cell, seed=1) for word in drawn for cell in CELLS]
    upright = np.ascontiguousarray(np.rot90(found[4]).repeat(4, axis=0).repeat(4, axis=1))
    blank = np.full((20, 70, 3), 120, np.uint8)
    return [*found, upright, blank, found[0], blank]


def inverted_x2(lr: Nchw) -> Nchw:
    """Twice the size, inverted: unlike the enlarged crop, so that a wrong strength is seen."""
    return np.ascontiguousarray(1 - lr.repeat(2, axis=2).repeat(2, axis=3))


def by_the_service(crops: Sequence[Rgb], rule: Rule, run: Run, sizes: Sequence[tuple[int, int]]) -> list[Rgb]:
    pipeline = CropPipeline(SPEC, QualityGate(Calibration({ANY: rule})), sizes=sizes)
    prepared = [pipeline.prepare(rgb, CropOptions("native", RoutingPolicy("auto", ANY))) for rgb in crops]
    return [pipeline.finish(one, [run(tile[None])[0] for tile in one.tiles]) for one in prepared]


@pytest.mark.parametrize("sizes", [SIZES, SIZES[:1]])
def test_calibration_and_service_make_the_same_pixels(crops: list[Rgb], sizes: Sequence[tuple[int, int]]) -> None:
    network = Network("fake", "", "", SPEC, dict.fromkeys(sizes, inverted_x2))
    pictures = treated(network, crops, [estimate(rgb) for rgb in crops])
    assert list(pictures) == list(TREATMENTS)
    for treatment, made in pictures.items():
        rule = Rule(min_blur=0, max_noise=math.inf, **treatment._asdict())
        served = by_the_service(crops, rule, inverted_x2, sizes)
        for ours, theirs in zip(made, served, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_the_network_opened_for_calibration_is_the_one_that_the_service_runs() -> None:
    pytest.importorskip("openvino")
    artefact = ModelStore(BUNDLED).resolve("tbsrn:4")
    network = open_network("tbsrn:4", weights=None, store=BUNDLED)
    assert network.digest == artefact.digest
    assert tuple(network.runs) == artefact.manifest.input_sizes
    runtime = open_runtime("openvino", artefact, device="cpu", threads=0, precision="fp32")
    for (height, width), run in network.runs.items():
        lr = np.random.default_rng(SEED).random((1, 3, height, width), np.float32)
        assert np.abs(run(lr) - runtime.run(lr)).max() < 1e-5
    runtime.close()
