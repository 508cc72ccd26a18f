"""Command line of the benchmarks.

python -m bench blur | bulk | capacity | data | http | ocr | precision | raw | reliability | sizes | start
                | training
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

# what -> (module with add_arguments(parser) and run(args), one line of help)
BENCHMARKS: dict[str, tuple[str, str]] = {
    "blur": ("bench.blur", "how well the blur of a crop is measured, on rendered text of known blur"),
    "capacity": (
        "bench.capacity",
        "what to plan a replica with: images a second, times, memory",
    ),
    "data": ("bench.data", "how fast training pairs are rendered and degraded"),
    "http": (
        "bench.http",
        "the service over HTTP: beside its runtime, FastAPI and LitServe; latency; growth",
    ),
    "ocr": ("bench.ocr", "words that recognisers read from small crops, with and without Text Telescope"),
    "reliability": ("bench.reliability", "load, faults, hostile pictures and vanishing clients, as one table"),
    "bulk": ("bench.bulk", "pictures a second of a bulk job with one and two workers, and what a cluster needs"),
    "precision": ("bench.precision", "what reduced precision costs in dB, SSIM and words read"),
    "raw": ("bench.raw", "images a second of every runtime and precision, beside the reference predictor"),
    "sizes": ("bench.sizes", "what a crop costs by its size and working scale"),
    "start": ("bench.start", "start-up time and memory of the service with each runtime"),
    "training": ("bench.training", "images a second of each engine's training steps"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one benchmark; its module is imported only when it is asked for."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Text Telescope.")
    commands = parser.add_subparsers(required=True, metavar="what")
    for name, (module_path, summary) in BENCHMARKS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(module_path)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    args.run(args)


if __name__ == "__main__":
    main()
