"""Command line of the benchmarks: every figure and chart of the documents.

    python -m bench raw --rounds 5                  one benchmark; `python -m bench raw --help` has its flags
    python -m bench all --data word_crops_val.tar   every benchmark, one after the other
    python -m bench all --quick                     the same on little work, to see that all of them run
    python -m bench quote                           copy the reports into docs/, and their figures into its texts

Reports are written to --out (runs/bench). After an interruption the same command goes on: `all` keeps the reports
that this version of the code has finished, and long benchmarks keep their measurements.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from app.errors import ServiceError, StartupError
from app.inference.driver import has_nvidia_driver
from model_store.errors import ModelStoreError
from model_store.optional import optional
from training.errors import MissingExtra, TrainingError

with optional("python -m bench", extra="bench", error=SystemExit):
    from bench.harness import options, quotes, report
    from training.run_state import git_commit

# name -> one line of help. bench/name.py has OPTIONS and measure(args) -> Report.
BENCHMARKS = {
    "model": "the published model's quality, parity and rules, out of its own reports",
    "raw": "images a second of every runtime and precision, beside the reference predictor",
    "http": "the service over HTTP: beside its runtime; response times; the size of a replica; its start",
    "sizes": "the inference time of a crop by its size and working scale",
    "bulk": "the speed of a bulk job with one and two workers",
    "blur": "the error of the blur estimate, on rendered text of known blur",
    "reading": "lines found on rendered pages, and the time and memory to find and read them",
    "pages": "whole pages: characters read wrongly, with and without Text Telescope",
    "gpu": "the network, the service and training by PyTorch on a GPU, in two minutes",
    "ocr": "words that recognisers read from small crops, with and without Text Telescope",
    "alternatives": "words read from blurred crops, beside other ways to enlarge them, and the time of each",
}
OUT, SAMPLES = Path("runs/bench"), Path("examples/crops")
NEED_DATA = {"ocr", "alternatives"}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one benchmark or all; exit with 2 and one sentence if a package is missing or an input is unusable.

    Only the chosen benchmark's module is imported.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((a for a in arguments if not a.startswith("-")), "")
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Text Telescope.")
    try:
        with optional("this benchmark", extra="bench", error=MissingExtra):
            _run(parser, chosen, arguments)
    except KeyboardInterrupt:
        parser.exit(130, f"{chosen}: interrupted; the same command goes on\n")
    except (MissingExtra, StartupError, ServiceError, ModelStoreError, TrainingError) as exc:
        parser.exit(2, f"{chosen}: {exc}\n")


def _run(parser: argparse.ArgumentParser, chosen: str, arguments: Sequence[str]) -> None:
    commands = parser.add_subparsers(required=True, metavar="benchmark")
    for name, summary in BENCHMARKS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            _add_benchmark(command, name, quick="--quick" in arguments)
    everything = commands.add_parser("all", help="every benchmark", description=run_all.__doc__)
    everything.add_argument("--quick", action="store_true", help="little work, to see that every benchmark runs")
    everything.add_argument("--data", type=Path, help="word crops: a folder or tar with labels.tsv")
    everything.add_argument("--out", type=Path, default=OUT, help="folder of the reports (default: %(default)s)")
    everything.set_defaults(run=run_all)
    quote = commands.add_parser("quote", help="copy reports into docs/ and their figures into the documents")
    quote.add_argument("--reports", type=Path, default=OUT, help="folder of `all` (default: %(default)s)")
    quote.set_defaults(run=lambda args: quotes.publish(args.reports))
    args = parser.parse_args(arguments)
    args.run(args)


def _add_benchmark(parser: argparse.ArgumentParser, name: str, *, quick: bool) -> None:
    module = importlib.import_module(f"bench.{name}")
    options.add(parser, module.OPTIONS, quick=quick)
    parser.add_argument("--quick", action="store_true", help="little work, to see that the benchmark runs")
    parser.add_argument("--out", type=Path, default=OUT, help="folder (default: %(default)s)")

    def run(args: argparse.Namespace) -> None:
        args.work = args.out / name  # of what a benchmark keeps to go on after an interruption
        about = report.about()
        command = options.command(name, module.OPTIONS, args)
        made = module.measure(args)
        report.write(made, args.out, name=name, command=command, quick=args.quick, about=about)
        print((args.out / f"{name}.md").read_text(encoding="utf-8"))

    parser.set_defaults(run=run)


def run_all(args: argparse.Namespace) -> None:
    """Each in a process of its own, so that none disturbs another.

    Keeps the reports that this version of the code has finished. Exits with 1 and the names of the benchmarks that
    failed, after the others have run.
    """
    data = args.data or (SAMPLES if args.quick else None)
    failed = []
    for number, name in enumerate(BENCHMARKS, 1):
        said = f"[{number}/{len(BENCHMARKS)}] {name}"
        if name in NEED_DATA and not data:
            print(f"{said}: left out, needs --data", flush=True)
            continue
        if name == "gpu" and not args.quick and not has_nvidia_driver():
            print(f"{said}: left out, needs an NVIDIA GPU", flush=True)
            continue
        flags = [*(["--quick"] if args.quick else []), *(["--data", str(data)] if name in NEED_DATA else [])]
        if finished(args.out / f"{name}.json", flags):
            print(f"{said}: finished before", flush=True)
            continue
        print(said, flush=True)
        started = monotonic()
        command = [sys.executable, "-m", "bench", name, *flags, "--out", str(args.out)]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(f"{said}: {monotonic() - started:.0f} s", flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def finished(path: Path, flags: Sequence[str]) -> bool:
    """Whether the report is of the benchmark with these flags and no others, by this version of the code."""
    if not path.exists():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    command = shlex.join(["python", "-m", "bench", path.stem, *(Path(flag).name for flag in flags)])
    commit = git_commit() or "-changed"
    return "-changed" not in commit and (found["git_commit"], found["command"]) == (commit, command)


if __name__ == "__main__":
    main()
