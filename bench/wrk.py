"""Load from wrk (Debian: apt-get install wrk), which uses little of the processor time that the service needs.

load = wrk(url, body, connections=16, seconds=5)   # each connection sends again as soon as it has a response
"""

from __future__ import annotations

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

SCRIPT = Path(__file__).with_suffix(".lua")
PATH = "/v1/super-resolve?mode=always"  # super-resolve every crop, also sharp ones


@dataclass(frozen=True)
class Body:
    data: bytes
    content_type: str


@dataclass(frozen=True)
class Load:
    """Numbers of 200 and 429 responses within `seconds`, and CPU seconds of the clients."""

    succeeded: int
    refused: int
    seconds: float
    client_s: float

    @property
    def per_s(self) -> float:
        return self.succeeded / self.seconds


def crops(crop: bytes, images: int) -> Body:
    """The body of a request: one crop as bare bytes, or several as multipart."""
    return Body(crop, "image/png") if images == 1 else multipart(crop, images)


def multipart(crop: bytes, images: int = 1) -> Body:
    head = b'--crop\r\nContent-Disposition: form-data; name="image"; filename="crop.png"\r\n'
    part = head + b"Content-Type: image/png\r\n\r\n" + crop + b"\r\n"
    return Body(part * images + b"--crop--\r\n", "multipart/form-data; boundary=crop")


def wrk(url: str, body: Body, *, connections: int, seconds: float, may_refuse: bool = False) -> Load:
    """Raises SystemExit for any response other than 200; with `may_refuse`, 429 is accepted, too."""
    if not which("wrk"):
        raise SystemExit("wrk, which generates the load, is not installed: apt-get install wrk.")
    with TemporaryDirectory() as folder:
        sent = Path(folder, "body")
        sent.write_bytes(body.data)
        options = f"-t1 -c{connections} -d{max(1, round(seconds))}s --timeout 60s -s".split()
        before = _cpu_s()
        done = subprocess.run(
            ["wrk", *options, SCRIPT, url + PATH, "--", sent, body.content_type], capture_output=True, text=True
        )
        client_s = _cpu_s() - before
    if done.returncode:
        raise SystemExit(f"wrk failed on {url}: {done.stderr.strip() or done.stdout.strip()}")
    found = json.loads(done.stdout.splitlines()[-1])
    statuses = {int(status): count for status, count in found["statuses"].items()}
    succeeded, refused = statuses.pop(200, 0), statuses.pop(429, 0)
    if statuses or found["broken"] or (refused and not may_refuse) or not succeeded:
        others = ", ".join(f"{count} times {status}" for status, count in {**statuses, 429: refused}.items())
        raise SystemExit(
            f"{url} did not answer every request with 200 ({succeeded} times; also {others}, "
            f"{found['broken']} broken connections), so the figures cannot be compared."
        )
    return Load(succeeded, refused, found["seconds"], client_s)


def _cpu_s() -> float:
    """CPU seconds of this process, which reads the service's log, and of its ended child processes."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
