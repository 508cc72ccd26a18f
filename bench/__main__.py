"""Command line of the benchmarks.

python -m bench blur | bulk | capacity | data | http | ocr | pages | precision | raw | reading | reliability
                | sizes | start | training
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from app.errors import StartupError
from model_store.optional import optional
from training.errors import MissingExtra

# name -> (module with add_arguments(parser) and run(args), one line of help)
BENCHMARKS: dict[str, tuple[str, str]] = {
    "blur": ("bench.blur", "the error of the blur estimate, on rendered text of known blur"),
    "capacity": ("bench.capacity", "figures for sizing a replica: images a second, response times, memory"),
    "data": ("bench.data", "how fast training pairs are rendered and degraded"),
    "http": ("bench.http", "the service over HTTP: beside its runtime, FastAPI and LitServe; latency; growth"),
    "ocr": ("bench.ocr", "words that recognisers read from small crops, with and without Text Telescope"),
    "pages": ("bench.pages", "whole pages: characters read wrongly, with and without Text Telescope"),
    "reliability": ("bench.reliability", "correctness under faults, damaged pictures and disconnecting clients"),
    "bulk": ("bench.bulk", "the speed of a bulk job with one and two workers, and the workers for a larger job"),
    "precision": ("bench.precision", "the loss from reduced precision in dB, SSIM and words read"),
    "raw": ("bench.raw", "images a second of every runtime and precision, beside the reference predictor"),
    "reading": ("bench.reading", "lines found on rendered pages, and the time and memory to find and read them"),
    "sizes": ("bench.sizes", "the inference time of a crop by its size and working scale"),
    "start": ("bench.start", "start-up time and memory of the service with each runtime"),
    "training": ("bench.training", "images a second of each engine's training steps"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one benchmark; exit with 2 and one sentence if a package is missing or broken.

    Only the chosen benchmark's module is imported.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Text Telescope.")
    try:
        with optional("this benchmark", extra="bench", error=MissingExtra):
            _run(parser, chosen, arguments)
    except (MissingExtra, StartupError) as exc:
        parser.exit(2, f"{chosen}: {exc}\n")


def _run(parser: argparse.ArgumentParser, chosen: str | None, arguments: Sequence[str]) -> None:
    commands = parser.add_subparsers(required=True, metavar="benchmark")
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
