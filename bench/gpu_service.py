"""`python -m bench gpu`: the service over loopback, and training."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

import httpx
import numpy as np

from bench.gpu_network import ON_GPU, PLACE, seconds
from bench.harness.load import Body, multipart, open_loop, several
from bench.harness.process import served
from bench.harness.report import Report, Table
from bench.http_load import percentiles

CROP = Path(__file__).parents[1] / "examples" / "crops" / "harbour.png"  # one window, as most words
SIZES = "1,16,128" if ON_GPU else "1"  # few, as each is captured at the start
CONNECTIONS = {1: 128, 16: 16} if ON_GPU else {1: 4}  # images a request -> connections
REQUESTS = 200 if ON_GPU else 10
BATCH = 128 if ON_GPU else 2
CONFIG = Path(__file__).parents[1] / "training" / "configs" / "ten-minutes.yml"
ROOM = 64  # pairs in the pool, for each image of a batch


def service(report: Report, args: argparse.Namespace) -> None:
    """One replica with the first model, whose clients run on the same machine."""
    found = report.figures["service"] = {}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TELESCOPE_")}
    settings = {
        "TELESCOPE_MODEL": args.model.split(",")[0],
        "TELESCOPE_MODEL_STORE": str(args.model_store.resolve()),
        "TELESCOPE_RUNTIME": "torch",
        "TELESCOPE_BATCH_SIZES": SIZES,
        "TELESCOPE_OCR": "off",
    }
    with served(**environment, **settings) as server:
        url = server.url()
        first = httpx.get(f"{url}/v1/models").json()["models"][0]
        found["runs"] = (
            f"{first['name']}:{first['version']}, {first['runtime']} {first['precision']}, {first['device']}"
        )
        one = Body(CROP.read_bytes())
        open_loop(url, one, requests=REQUESTS // 10, per_s=None)
        found["ms"] = dict(
            zip(("50", "95", "99"), percentiles(open_loop(url, one, requests=REQUESTS, per_s=None)), strict=True)
        )
        cells = [f"{found['ms'][p]:.1f} ms" for p in ("50", "95", "99")]
        columns = ["one after another: median", "95 %", "99 %"]
        for images, connections in CONNECTIONS.items():
            body = multipart(one.data, images)
            several(url, body, connections=connections, seconds=1)
            found[f"images_per_s_{images}"] = images * several(url, body, connections=connections, seconds=3)
            columns.append(f"images a second, {images} a request, {connections} connections")
            cells.append(f"{found[f'images_per_s_{images}']:,.0f}")
        report.tables["service"] = Table(f"The service, {found['runs']}", columns, [cells])


def training(report: Report, args: argparse.Namespace) -> None:
    """Steps of the ten-minute recipe without its recognisers, on pairs of 16x64 that are already on the device."""
    from training.config import TrainConfig
    from training.config_file import read_config
    from training.data.pool import Kind, Layout
    from training.engines.torch_learner import Learner
    from training.engines.torch_pool import Pool

    found = report.figures["training"] = {}
    kind, layout = Kind(placed=False, latin=True), Layout((16, 64), 2)
    rng = np.random.default_rng(0)
    columns = {
        name: rng.integers(0, 255, (ROOM * BATCH, *shape)).astype(dtype)
        for name, (shape, dtype) in layout.columns.items()
    }
    for attention in (False,) if args.quick else (False, True):
        overrides = [
            "loss.readers=[]",
            "data.low=0",
            "data.window_share=0",
            *([] if ON_GPU else ["run.amp=none"]),
            f"run.batch_size={BATCH}",
        ]
        config = read_config(CONFIG, TrainConfig, [*overrides, f"model.attention={attention}".lower()])
        pool = Pool({kind: layout}, size=ROOM * BATCH, device=PLACE)
        pool.add(kind, columns)
        learner = Learner(config, pool, other_share=0.0)
        graphs = learner.capture()
        name = "with attention" if attention else "without attention"
        found[name] = {"images_per_s": BATCH / seconds(partial(learner.step, 1e-4)), "graphs": graphs}
        cells = [f"{one['images_per_s']:,.3g}" for one in found.values()]
        report.tables["training"] = Table(f"Training, images a second in batches of {BATCH}", list(found), [cells])
