"""Every file of the corpus through every way into the product: the same pixels, or the same refusal."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from app.errors import ServiceError
from app.imaging.decode import probe
from app.settings import Settings
from tests.app.conftest import Server, fake_store
from tests.app.fakes import FakeRuntime
from tests.corpus.drawing import File
from tests.corpus.files import files
from tests.corpus.tools import KEEPS, Outcome, Outcomes, Tools
from tests.corpus.ways import QUICK, WAYS
from tests.corpus.ways_to_training import at_network_size, training_predict

pytest.importorskip("lmdb")
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # of damaged pictures; no errors in the service either
__all__ = ["fake_store"]  # a fixture
LIMITS = {"max_pixels": Settings().max_image_pixels, "min_side_px": Settings().min_side_px}
LEAST_BY_PIL = 0.6  # of the readable files, as PIL images


def decoded(data: bytes) -> Outcome:
    try:
        return probe(data, **LIMITS).decode()
    except ServiceError as exc:
        return f"{exc.code}: {exc}"


@pytest.fixture(scope="module")
def by_decoder() -> Outcomes:
    return {name: decoded(file.data) for name, file in files().items()}


@pytest.fixture(scope="module")
def server(fake_store: Path) -> Iterator[Server]:
    """Its limit for pages is that for pictures, so that equal files are refused."""
    settings = Settings(model_store=fake_store, max_page_pixels=int(LIMITS["max_pixels"]))
    running = Server(settings, FakeRuntime(), KEEPS)
    yield running
    running.stop()


def fault(file: File, found: Outcome) -> str:
    """The difference between an outcome and the expectation; empty if there is none."""
    if isinstance(found, str):
        if found.split(":")[0] not in file.codes:
            return f"expected {' or '.join(file.codes) or 'pixels'}, got {found}"
        return "" if re.search(file.says, found) else f"the message {found!r} does not say {file.says!r}"
    if file.check:
        try:
            file.check(found)
        except AssertionError as exc:
            return str(exc)
        return ""
    if file.rgb is None:
        return f"expected {' or '.join(file.codes)}, got pixels"
    if found.shape != file.rgb.shape:
        return f"expected the shape {file.rgb.shape}, got {found.shape}"
    off = np.abs(found.astype(int) - file.rgb).max()
    return f"expected {file.tolerance} levels of difference at most, got {off}" if off > file.tolerance else ""


def test_the_decoder_reads_every_file_as_its_drawing_is_or_refuses_it(by_decoder: Outcomes) -> None:
    faults = {name: fault(file, by_decoder[name]) for name, file in files().items()}
    found = [f"{name}: {text}" for name, text in faults.items() if text]
    assert not found, "\n".join(found)


def test_no_library_prints_or_logs_anything_of_a_picture(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for name, file in files().items():
        decoded(file.data)
        assert not capfd.readouterr().err, name
        assert not caplog.text, name


def test_the_corpus_has_files_of_every_kind() -> None:
    kinds = {"png", "jpeg", "webp", "tiff", "bmp", "gif"}
    assert len(files()) >= 130
    for expectation in (
        {name for name, file in files().items() if file.rgb is not None},
        {name for name, file in files().items() if file.codes},
    ):
        assert kinds <= {word for name in expectation for word in name.split()}


@pytest.mark.parametrize(
    "way", [pytest.param(way, id=way.__name__, marks=() if way in QUICK else pytest.mark.slow) for way in WAYS]
)
def test_every_way_reads_every_file_as_the_decoder_does(
    way: Callable[[Tools], Outcomes],
    by_decoder: Outcomes,
    server: Server,
    fake_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools = Tools(files(), by_decoder, server, fake_store, tmp_path, monkeypatch)
    outcomes = way(tools)
    assert len(outcomes) > LEAST_BY_PIL * len(tools.readable())
    found = [f"{name}, by {way.__name__}: {text}" for name, text in _differences(way, outcomes, by_decoder)]
    assert not found, "\n".join(found)


def _differences(
    way: Callable[[Tools], Outcomes], outcomes: Outcomes, by_decoder: Outcomes
) -> Iterator[tuple[str, str]]:
    for name, outcome in outcomes.items():
        expected = by_decoder[name]
        if way is training_predict and not isinstance(expected, str):
            expected = at_network_size(expected)
        if isinstance(expected, str) and isinstance(outcome, str):
            same = expected.split(":")[0] == outcome.split(":")[0] and re.search(files()[name].says, outcome)
            if outcome and not same:
                yield name, f"expected {expected}, got {outcome}"
        elif isinstance(expected, str) or isinstance(outcome, str):
            yield name, f"expected {_short(expected)}, got {_short(outcome)}"
        elif not np.array_equal(expected, outcome):
            yield name, f"other pixels of {outcome.shape} than the decoder's {expected.shape}"


def _short(outcome: Outcome) -> str:
    return outcome or "a refusal" if isinstance(outcome, str) else f"pixels {outcome.shape}"
