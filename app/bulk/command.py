"""The arguments of `python -m app bulk`."""

import argparse
from pathlib import Path
from typing import Any, get_args

from app.bulk.entries import JobOptions, KindName
from app.bulk.job import Engine, run
from app.imaging.encode import Format
from app.imaging.quality_gate import routing_policy
from app.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that are not given stay out of the namespace (argument_default=SUPPRESS)."""
    parser.add_argument("source", type=Path, metavar="INPUT", help="a shard, or a folder of shards or pictures")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="a folder; the same command resumes a job")
    parser.add_argument("--kind", choices=get_args(KindName), help="kind of INPUT, if it holds several")
    parser.add_argument(
        "--images",
        metavar="NAME",
        help="the pictures to read: a Parquet column, a prefix of LMDB keys, or an ending of names in tars",
    )
    parser.add_argument("--format", choices=get_args(Format), default="png")
    parser.add_argument("--geometry", choices=("native", "telescope"), default="native")
    parser.add_argument("--mode", choices=("auto", "always"), help="auto: only crops that it helps to read")
    parser.add_argument("--recogniser", metavar="NAME", help="the reader; other crops stay as they are")
    parser.add_argument("--workers", type=int, metavar="N", help="Ray Data actors; default: this process alone")
    parser.add_argument("--address", help="of a running Ray cluster; auto: the cluster of this machine")
    parser.add_argument("--unit-size", type=int, metavar="N", help="pictures per unit of a folder or LMDB")


def bulk(arguments: dict[str, Any]) -> int:
    """Exit code: 0 if every picture succeeded, else 1. Raises as `job.run` does."""
    take = arguments.pop
    policy = routing_policy(take("mode", None), take("recogniser", None), arguments["geometry"])
    options = JobOptions(take("format"), take("geometry"), policy, take("images", None))
    engine = Engine(take("workers", 0), take("address", None))
    job = {name: take(name) for name in ("source", "output", "kind", "unit_size") if name in arguments}
    return 1 if run(**job, options=options, engine=engine, settings=load_settings(**arguments)) else 0
