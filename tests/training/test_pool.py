"""Makers: every kind of pair with what belongs to it, and no process or memory that outlives its use."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from model_store.manifest import PixelSpec
from tests.conftest import REPOSITORY
from tests.training.drawn import write_tar
from training.config import DataConfig
from training.data.degrade_config import preset
from training.data.fonts import find_fonts
from training.data.lmdb_writer import LmdbWriter
from training.data.pool import SLAB, Kind, Layout, Makers, layouts
from training.data.samples import LONGEST, Samples, code_points, training_samples
from training.data.synth import SynthConfig
from training.errors import DataError

SPEC = PixelSpec(16, 64, 2)
COLOURS = {"red": (200, 40, 50), "green": (40, 180, 60), "blue": (50, 60, 190)}
LATIN, OTHER = Kind(placed=True, latin=True), Kind(placed=True, latin=False)
STRETCHED = Kind(placed=False, latin=True)


def coloured(folder: Path, **settings: object) -> Samples:
    """Crops of one colour each, whose name is their label."""
    crops = [
        (name, np.full((60, width, 3), rgb, np.uint8)) for name, rgb in COLOURS.items() for width in (90, 300)
    ]
    path = write_tar(folder / "crops.tar", crops)
    config = DataConfig(train=(path,), rendered_validation=1, degrade=preset("sharp"), **settings)  # type: ignore[arg-type]
    return training_samples(config, SPEC, seed=5)


def gathered(samples: Samples, slabs: int, *, workers: int = 1) -> dict[Kind, dict[str, np.ndarray]]:
    """Columns by kind; the processes are gone after it."""
    found: dict[Kind, list[Mapping[str, np.ndarray]]] = {}
    with Makers(samples, workers=workers, seed=3) as makers:
        while makers.made < slabs * SLAB or len(found) < len(makers.layouts):
            taken = makers.take(wait=60)
            assert taken is not None
            found.setdefault(taken[0], []).append(taken[1])
    assert not multiprocessing.active_children()
    return {
        kind: {name: np.concatenate([one[name] for one in many]) for name in many[0]}
        for kind, many in found.items()
    }


def test_pairs_come_with_their_own_text_box_and_colour(tmp_path: Path) -> None:
    found = gathered(coloured(tmp_path, window_share=0.6, window=(24, 80)), 6)
    assert found.keys() == {LATIN, STRETCHED}
    names = {code_points([name])[0].tobytes(): name for name in COLOURS}
    for kind, columns in found.items():
        lr = (24, 80, 3) if kind.placed else (16, 64, 3)
        assert columns["lr"].shape[1:] == lr
        assert columns["hr"].shape[1:] == (2 * lr[0], 2 * lr[1], 3)
        assert (columns["lr"].dtype, columns["codes"].shape[1:]) == (np.dtype(np.uint8), (LONGEST,))
        known = [names.get(codes.tobytes(), "") for codes in columns["codes"]]
        assert set(known) == {*COLOURS, ""} if kind.placed else set(COLOURS)  # "": rows of it are missing
        for name, hr, lr_, box in zip(known, columns["hr"], columns["lr"], columns["box"], strict=True):
            left, top, right, bottom = box.astype(int)
            colour = hr[(top + bottom) // 2, (left + right) // 2]
            assert colour.tolist() in map(list, COLOURS.values())
            assert not name or tuple(colour) == COLOURS[name]
            assert np.abs(lr_.mean((0, 1)) - colour).max() < 4
        assert columns["sharp"].all()
        assert columns["whole"].all() != kind.placed


@pytest.mark.slow
def test_text_of_another_script_is_a_kind_of_its_own() -> None:
    fonts = [font for font in find_fonts() if font.has("Ωβψ")]
    if not fonts:
        pytest.skip("no font here has Greek")
    config = DataConfig(
        rendered=8, rendered_validation=1, scripts={"latin": 0.5, "greek": 0.5}, window_share=0.6, window=(16, 48),
        synth=SynthConfig(screen_share=1.0),
    )  # fmt: skip
    samples = training_samples(config, SPEC, seed=5)
    assert samples.other_share == pytest.approx(0.5)
    found = gathered(samples, 3, workers=2)
    assert found.keys() == {LATIN, OTHER, STRETCHED}
    greek = found[OTHER]["codes"]
    assert ((greek >= 0x370) & (greek < 0x400)).any(1).mean() > 0.3  # others are numbers
    assert not ((found[LATIN]["codes"] >= 0x370) & (found[LATIN]["codes"] < 0x400)).any()


def test_the_kinds_are_those_that_the_shares_leave(tmp_path: Path) -> None:
    assert layouts(coloured(tmp_path)).keys() == {STRETCHED}
    assert layouts(coloured(tmp_path, window_share=1.0)).keys() == {LATIN}


def test_a_layouts_columns_lie_side_by_side_in_its_memory() -> None:
    layout = Layout((8, 12), 2)
    buffer = memoryview(bytearray(layout.bytes))
    views = layout.views(buffer)
    for number, view in enumerate(views.values()):
        view.fill(number % 2)
    assert [view.shape[0] for view in views.values()] == [SLAB] * len(views)
    assert all((view == number % 2).all() for number, view in enumerate(views.values()))
    assert sum(view.nbytes for view in views.values()) == layout.bytes


def test_what_fails_in_a_process_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    picture = np.zeros((32, 128, 3), np.uint8)
    with LmdbWriter(tmp_path / "pairs", recipe="test") as writer:
        writer.add("pair", hr=picture, lr=picture[::2, ::2].copy())
    config = DataConfig(train=(tmp_path / "pairs",), rendered_validation=1, window_share=1.0)
    samples = training_samples(config, SPEC, seed=5)
    with pytest.raises(DataError, match="every process that makes pairs has died"):
        gathered(samples, 1)
    assert "data.window_share needs crops to degrade, and these pairs have an LR already" in capfd.readouterr().err
    assert not multiprocessing.active_children()


def test_nothing_ready_is_none_at_once(tmp_path: Path) -> None:
    with Makers(coloured(tmp_path), workers=1, seed=3) as makers:
        assert makers.take() is None  # the process is still starting; waiting for it would bring a pair
        assert makers.made == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_leaves_the_processes_to_their_parent(number: int, tmp_path: Path) -> None:
    """Ctrl-C reaches every process of a terminal; a run that saves on it must not find its makers dead."""
    with Makers(coloured(tmp_path), workers=1, seed=3) as makers:
        assert makers.take(wait=60)
        (process,) = multiprocessing.active_children()
        os.kill(process.pid or 0, number)
        process.join(0.3)
        assert process.is_alive()
    assert not process.is_alive()


LEFT = """
import multiprocessing, sys
from pathlib import Path
from tests.training.test_pool import Makers, coloured
if __name__ == "__main__":
    with Makers(coloured(Path(sys.argv[1])), workers=1, seed=3) as makers:
        assert makers.take(wait=60)
        slab = makers._slabs[0].name
        print(multiprocessing.active_children()[0].pid, slab, flush=True)
        sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks processes and memory up in /proc and /dev/shm")
def test_a_killed_parent_leaves_neither_processes_nor_memory(tmp_path: Path) -> None:
    (tmp_path / "left.py").write_text(LEFT)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "left.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        number, slab = process.stdout.readline().decode().split()
        maker, memory = Path(f"/proc/{number}"), Path("/dev/shm") / slab.lstrip("/")
        assert maker.exists()
        assert memory.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 20
    while (_alive(maker) or memory.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(maker)
    assert not memory.exists()


def _alive(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
