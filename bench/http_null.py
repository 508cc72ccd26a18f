"""`python -m bench http --parts null`: the cost of HTTP, decoding and encoding, beside other frameworks."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from importlib.util import find_spec

from app.imaging.decode import decode
from app.imaging.encode import encode
from bench.harness.load import Body, closed_loop, multipart
from bench.harness.memory import cpu_s
from bench.harness.process import served
from bench.harness.report import Report, Table
from bench.http_saturation import CROP, Figures, figures, medians, shown
from model_store.pixels import resize

TURN_S = 1  # short, because the machine's speed changes by the second
SIDES = {  # side of bench.null -> name, kinds of bodies
    "service": ("Text Telescope", ("bare bytes", "multipart")),
    "bare": ("bare FastAPI", ("bare bytes", "multipart")),
    "litserve": ("LitServe", ("multipart",)),  # it parses any other body as JSON
}
COLUMNS = ("fp32, no network", "requests a second", "CPU ms a request", "service over it", "by CPU time")


def null(args: argparse.Namespace) -> Report:
    """Turns of one second, `rounds` times `seconds`. Without LitServe (extra `bench`), the others alone."""
    sides = [side for side in SIDES if side != "litserve" or find_spec("litserve")]
    crop = encode(resize(decode(CROP.read_bytes()), height=16, width=64), "png")
    bodies = {"bare bytes": Body(crop), "multipart": multipart(crop)}
    rounds: dict[tuple[str, str], list[Figures]] = {(side, kind): [] for side in sides for kind in SIDES[side][1]}
    with ExitStack() as stack:
        servers = {side: stack.enter_context(served("--side", side, program="bench.null")) for side in sides}
        for turn in range(max(1, round(args.rounds * args.seconds / TURN_S)) + 1):
            for (side, kind), found in rounds.items():
                before = cpu_s(servers[side].pid)
                per_s = closed_loop(servers[side].url(), bodies[kind], connections=16, seconds=TURN_S)
                if turn:  # the first warms the servers
                    found.append(figures(per_s * TURN_S, TURN_S, cpu_s(servers[side].pid) - before))
    rows, facts = [], dict[str, str]()
    for (side, kind), found in rounds.items():
        it, ours = medians(found), medians(rounds["service", kind])
        over = (f"x{ours['images_per_s'] / it['images_per_s']:.2f}", f"x{it['cpu_ms'] / ours['cpu_ms']:.2f}")
        rows.append((f"{SIDES[side][0]}, {kind}", shown(it), f"{it['cpu_ms']:.2f}", *over))
        facts[f"null-over-{side}-{kind.replace(' ', '-')}"] = over[0]
    table = Table("The service without its network, beside other frameworks", COLUMNS, rows)
    return Report({", ".join(key): found for key, found in rounds.items()}, {"null": table}, facts)
