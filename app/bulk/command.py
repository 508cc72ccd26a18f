"""The arguments of `python -m app bulk`."""

import argparse
from pathlib import Path
from typing import Any, get_args

from app.bulk.entries import KindName, Options
from app.imaging.encode import Format
from app.imaging.quality_gate import routing_policy
from app.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is not given is left out of the namespace (argument_default=SUPPRESS)."""
    parser.add_argument("source", type=Path, metavar="INPUT", help="a shard, or a folder of shards or pictures")
    parser.add_argument(
        "output", type=Path, metavar="OUTPUT", help="folder; the same command takes a job up again"
    )
    parser.add_argument("--kind", choices=get_args(KindName), help="of INPUT, where it holds several")
    parser.add_argument(
        "--images",
        metavar="NAME",
        help="which picture: a Parquet column, a prefix of LMDB keys, an ending in tars",
    )
    parser.add_argument("--format", choices=get_args(Format), default="png")
    parser.add_argument("--geometry", choices=("native", "telescope"), default="native")
    parser.add_argument("--mode", choices=("auto", "always"), help="auto: only crops that it helps to read")
    parser.add_argument("--recogniser", metavar="NAME", help="who is to read them; the others stay as they are")
    parser.add_argument("--workers", type=int, metavar="N", help="actors of Ray Data; without, this process works")
    parser.add_argument("--address", help="of a running Ray cluster; auto: the one this machine is in")
    parser.add_argument("--unit-size", type=int, metavar="N", help="pictures of a folder or LMDB done as a whole")


def bulk(arguments: dict[str, Any]) -> int:
    """Exit code: 0 every picture has its answer, 1 some have not. Raises what `job.run` raises."""
    from app.bulk.job import Engine, run

    geometry = arguments.pop("geometry")
    options = Options(
        arguments.pop("format"),
        geometry,
        routing_policy(arguments.pop("mode", None), arguments.pop("recogniser", None), geometry),
        arguments.pop("images", None),
    )
    how = {name: arguments.pop(name) for name in ("kind", "unit_size") if name in arguments}
    engine = Engine(**{name: arguments.pop(name) for name in ("workers", "address") if name in arguments})
    source, output = arguments.pop("source"), arguments.pop("output")
    return 1 if run(source, output, options, load_settings(**arguments), engine=engine, **how) else 0
