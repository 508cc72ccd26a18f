"""Every benchmark, each in a process of its own, so that none disturbs the memory or threads of another.

Reports that this version of the code has finished are kept. Benchmarks that need word crops use --data; without it
they are left out, and with --quick they use the sample crops of this repository.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from time import monotonic

from training.run_state import git_commit

NEED_DATA = {"precision", "ocr"}
SAMPLES = Path("examples/crops")


def add_arguments(parser: argparse.ArgumentParser, *, out: Path) -> None:
    parser.add_argument("--quick", action="store_true", help="little work, to see that every benchmark runs")
    parser.add_argument("--data", type=Path, help="word crops: a folder or tar with labels.tsv")
    parser.add_argument("--only", help="these benchmarks, comma-separated")
    parser.add_argument("--out", type=Path, default=out, help="folder of the reports (default: %(default)s)")


def run(args: argparse.Namespace, names: Collection[str]) -> None:
    """Exit with 1 and the names of the benchmarks that failed, after the others have run."""
    wanted = args.only.split(",") if args.only else list(names)
    if unknown := set(wanted) - set(names):
        raise SystemExit(f"--only has no {', '.join(sorted(unknown))}; there are {', '.join(names)}.")
    data = args.data or (SAMPLES if args.quick else None)
    failed = []
    for number, name in enumerate(wanted, 1):
        said = f"[{number}/{len(wanted)}] {name}"
        if finished(args.out / f"{name}.json", quick=args.quick):
            print(f"{said}: finished before", flush=True)
            continue
        if name in NEED_DATA and not data:
            print(f"{said}: left out, needs --data", flush=True)
            continue
        print(said, flush=True)
        flags = [*(["--quick"] if args.quick else []), *(["--data", str(data)] if name in NEED_DATA else [])]
        started = monotonic()
        command = [sys.executable, "-m", "bench", name, *flags, "--out", str(args.out)]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(f"{said}: {monotonic() - started:.0f} s", flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def finished(path: Path, *, quick: bool) -> bool:
    if not path.exists():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    commit = git_commit()
    return bool(commit and "-changed" not in commit and found["git_commit"] == commit and found["quick"] == quick)
