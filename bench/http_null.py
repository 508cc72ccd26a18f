"""`python -m bench http --parts null`: the cost of HTTP, decoding and encoding, compared with other frameworks."""

from __future__ import annotations

import argparse
import importlib
from contextlib import ExitStack
from typing import Any

from app.imaging.decode import decode
from app.imaging.encode import encode
from bench.http_saturation import CROP, Figures, medians
from bench.served import Served
from bench.wrk import Body, multipart, wrk
from model_store.optional import optional
from model_store.pixels import resize
from training.errors import MissingExtra

CONNECTIONS = 16
# Short turns, because the machine's speed changes by the second; there are `rounds` * `seconds` of them.
TURN_S = 1
BODIES = ("bare bytes", "multipart")
SERVICE = "service"
SERVERS = {  # name -> arguments of bench.null, kinds of request bodies
    SERVICE: (("--side", "service"), BODIES),
    "bare FastAPI": (("--side", "bare"), BODIES),
    "bare FastAPI with Pillow": (("--side", "bare", "--codec", "pillow"), BODIES[1:]),
    "LitServe": (("--side", "litserve"), BODIES[1:]),  # LitServe accepts no bare bytes
    "LitServe with Pillow": (("--side", "litserve", "--codec", "pillow"), BODIES[1:]),
}


def measure(args: argparse.Namespace, _: object = None) -> dict[str, Any]:
    bodies = dict(zip(BODIES, _bodies(), strict=True))
    missing = _missing_litserve()
    names = [name for name in SERVERS if not (missing and name.startswith("LitServe"))]
    rounds: dict[str, list[Figures]] = {f"{name}, {kind}": [] for name in names for kind in SERVERS[name][1]}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Served(*SERVERS[name][0], program="bench.null")) for name in names}
        for turn in range(max(1, round(args.rounds * args.seconds / TURN_S)) + 1):
            for side, found in rounds.items():
                name, kind = side.split(", ")
                figures = _loaded(servers[name], bodies[kind])
                if turn:
                    found.append(figures)
    sides = {side: medians(found) for side, found in rounds.items()}
    for side, figures in sides.items():
        service = sides[f"{SERVICE}, {side.split(', ')[1]}"]
        figures["service_over_it"] = round(service["images_per_s"] / figures["images_per_s"], 2)
        figures["service_over_it_by_cpu"] = round(figures["cpu_ms"] / service["cpu_ms"], 2)
    return {"sides": sides, "rounds": rounds, "left_out": [missing] if missing else []}


def _missing_litserve() -> str:
    """The reason for leaving LitServe out; empty if it can be imported."""
    try:
        with optional(
            "the comparison with LitServe, which is left out,", "litserve", extra="bench", error=MissingExtra
        ):
            importlib.import_module("litserve")
    except MissingExtra as exc:
        return str(exc)
    return ""


def _bodies() -> tuple[Body, Body]:
    crop = encode(resize(decode(CROP.read_bytes()), height=16, width=64), "png")
    return Body(crop, "image/png"), multipart(crop)


def _loaded(server: Served, body: Body) -> Figures:
    before = server.cpu_s
    load = wrk(server.url, body, connections=CONNECTIONS, seconds=TURN_S)
    return {
        "images_per_s": round(load.per_s, 2),
        "cpu_ms": round(1000 * (server.cpu_s - before) / load.succeeded, 3),
    }


def table(found: dict[str, Any]) -> str:
    lines = [
        "| | requests a second | CPU ms a request | service over it | by CPU time |",
        "|---" * 5 + "|",
    ]
    for side, f in found["sides"].items():
        over = " | "
        if not side.startswith(SERVICE):
            over = f"x{f['service_over_it']:.2f} | x{f['service_over_it_by_cpu']:.2f}"
        lines.append(
            f"| {side} | {f['images_per_s']:.0f} ({f['low']:.0f}-{f['high']:.0f}) | {f['cpu_ms']:.2f} | {over} |"
        )
    return "\n".join([*lines, *found["left_out"]])
