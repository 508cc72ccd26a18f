"""Load by wrk (Debian: apt-get install wrk), which takes little of the processor that the service needs.

load = wrk(url, body, connections=16, seconds=5)   # each connection asks again as soon as it has its answer
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
PATH = "/v1/super-resolve?mode=always"  # every crop through the network, sharp ones too


@dataclass(frozen=True)
class Body:
    data: bytes
    content_type: str


@dataclass(frozen=True)
class Load:
    """Answers of 200 and of 429 in so many seconds, and the CPU time that asking for them took here."""

    answers: int
    refused: int
    seconds: float
    client_s: float

    @property
    def per_s(self) -> float:
        return self.answers / self.seconds


def crops(crop: bytes, images: int) -> Body:
    """A request for one crop as its bare bytes, or for several as multipart."""
    return Body(crop, "image/png") if images == 1 else multipart(crop, images)


def multipart(crop: bytes, images: int = 1) -> Body:
    head = b'--crop\r\nContent-Disposition: form-data; name="image"; filename="crop.png"\r\n'
    part = head + b"Content-Type: image/png\r\n\r\n" + crop + b"\r\n"
    return Body(part * images + b"--crop--\r\n", "multipart/form-data; boundary=crop")


def wrk(url: str, body: Body, *, connections: int, seconds: float, may_refuse: bool = False) -> Load:
    """Ends the benchmark with a sentence when an answer is no success; with `may_refuse`, a 429 is none either."""
    if not which("wrk"):
        raise SystemExit("wrk is not installed, and makes the load: apt-get install wrk.")
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
    answers, refused = statuses.pop(200, 0), statuses.pop(429, 0)
    if statuses or found["broken"] or (refused and not may_refuse) or not answers:
        others = ", ".join(f"{count} times {status}" for status, count in {**statuses, 429: refused}.items())
        raise SystemExit(
            f"{url} did not answer every request with 200 ({answers} times; also {others}, "
            f"{found['broken']} broken connections), so nothing that it did can be compared."
        )
    return Load(answers, refused, found["seconds"], client_s)


def _cpu_s() -> float:
    """Of this process, which reads the service's log, and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
