"""`text-telescope bulk` over real actors of Ray Data with the bundled model, killed where it hurts."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.bulk.in_process import InProcess
from app.imaging.decode import decode
from app.imaging.encode import encode
from app.imaging.quality_gate import RoutingPolicy
from app.serving.loading import load_model
from app.settings import Settings
from model_store.pixels import Rgb
from tests.app.bulk.sets import read_folder, read_tar, write_tar
from tests.app.process import SOON_READY, wait_until
from tests.conftest import REPOSITORY

pytest.importorskip("openvino")
pytest.importorskip("ray")
pytestmark = pytest.mark.slow
SHARDS, EACH = 10, 2


def picture(path: Path) -> Rgb:
    """Large: a unit of them takes a worker half a second or more, so the job cannot end before it is killed."""
    return np.tile(decode(path.read_bytes()), (3, 4, 1))


PICTURES = [picture(path) for path in sorted((REPOSITORY / "examples" / "crops").glob("*.png"))[:5]]


class BulkProcess:
    def __init__(self, source: Path, output: Path, *arguments: str, scratch: str) -> None:
        """scratch: the working folder; it gets a package `app` of another project, which no process may import."""
        self.output = output
        (Path(scratch) / "app").mkdir(exist_ok=True)
        (Path(scratch) / "app" / "__init__.py").write_text("raise SystemExit('this is another app')")
        command = Path(sys.executable).parent / "text-telescope"
        self.popen = subprocess.Popen(
            [command, "bulk", source, output, "--mode", "always", *arguments],
            cwd=scratch,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": scratch,
                "RAY_TMPDIR": scratch,
                "TELESCOPE_RUNTIME": "openvino",
                "RAY_enable_worker_prestart": "0",  # no spare workers, each of which imports Ray for seconds
                "RAY_prestart_worker_first_driver": "0",
                **SOON_READY,
            },
        )

    def done(self) -> int:
        return len(list((self.output / "_bulk" / "done").glob("*.json")))

    def ended(self) -> bool:
        """Whether the job ended too early: fails the test, or skips it if the machine is too busy for Ray."""
        if self.popen.poll() is not None:
            said = self.wait()
            if "Ray does not start on this machine" in said:
                pytest.skip(said.splitlines()[-1])
            pytest.fail(said)
        return False

    def below(self) -> dict[int, str]:
        """Every process that it has started, by id -> its title."""
        parents, titles = {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        found = {self.popen.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: titles[pid] for pid in found - {self.popen.pid}}

    def kill_a_busy_worker(self) -> bool:
        """False if none is busy. Ray's process titles show it only during the work, so find and kill at once."""
        busy = [pid for pid, title in self.below().items() if "(MapBatches(_Actor)).submit" in title]
        if busy:
            os.kill(busy[0], signal.SIGKILL)
        return bool(busy)

    def wait(self) -> str:
        _, said = self.popen.communicate(timeout=200)
        return said


@pytest.fixture
def scratch() -> Iterator[str]:
    """Short: Ray's sockets lie below it, and their paths are limited."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        yield folder


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.fixture(scope="module")
def expected() -> list[Rgb]:
    """The service's result for each picture."""
    model = load_model(Settings(runtime="openvino", batch_sizes=(1,), threads=1))
    try:
        in_process = InProcess(model.predictor, model.pipeline, policy=RoutingPolicy(mode="always"))
        return [rgb for rgb, _ in in_process(PICTURES)]
    finally:
        model.predictor.close()


def test_killed_workers_and_drivers_neither_lose_nor_duplicate_output(
    tmp_path: Path, scratch: str, expected: list[Rgb]
) -> None:
    for shard in range(SHARDS):
        members = {f"{i}.png": encode(PICTURES[(shard + i) % len(PICTURES)], "png") for i in range(EACH)}
        write_tar(tmp_path / "in" / f"{shard}.tar", members | {"note.txt": str(shard).encode()})
    job = BulkProcess(tmp_path / "in", tmp_path / "out", "--workers", "2", scratch=scratch)
    try:
        wait_until(lambda: not job.ended() and job.done() >= 1 and job.kill_a_busy_worker(), 400, every_s=0.1)
        before = job.done()
        wait_until(lambda: job.ended() or job.done() >= before + 2, 400, every_s=0.1)
    finally:
        below = job.below()
        job.popen.kill()
        job.wait()
    # Ray's agents notice later, and write nothing.
    wait_until(lambda: not any(alive(pid) for pid, title in below.items() if "_Actor" in title), 60, every_s=0.1)
    finished = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("*.tar")}
    recorded = job.done()
    assert before + 2 <= recorded < SHARDS

    again = BulkProcess(
        tmp_path / "in", tmp_path / "out", scratch=scratch
    )  # the number of workers is no part of the job
    said = again.wait()
    assert again.popen.returncode == 0, said
    assert f"{SHARDS * EACH} pictures done, 0 failed, 0 units not done" in said
    unchanged = [name for name, inode in finished.items() if (tmp_path / "out" / name).stat().st_ino == inode]
    assert len(unchanged) >= recorded, "what had a record was written again"

    assert read_folder(tmp_path / "out").keys() == {f"{shard}.tar" for shard in range(SHARDS)}
    assert not list((tmp_path / "out" / "_bulk" / "staging").iterdir())
    for shard in range(SHARDS):
        *pictures, note = read_tar(tmp_path / "out" / f"{shard}.tar")
        assert note == ("note.txt", str(shard).encode())
        assert [name for name, _ in pictures] == [f"{i}.png" for i in range(EACH)]
        for i, (_, data) in enumerate(pictures):
            difference = decode(data).astype(int) - expected[(shard + i) % len(PICTURES)]
            assert np.abs(difference).max() <= 1
