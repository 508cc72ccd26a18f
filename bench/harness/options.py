"""The flags of the benchmarks: one set for all, and for each benchmark its values for a full and for a quick run.

OPTIONS = {"rounds": Value(5, quick=1), **MODEL}   # in a benchmark's module
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store import BUNDLED
from training.data.crops import SEED
from training.ocr import READERS

HELP = {
    "model": "name or name:version, newest version by default",
    "model_store": "folder of models",
    "data": "word crops: a folder or tar with labels.tsv, or an LMDB folder",
    "readers": "recognisers, comma-separated",
    "scripts": "scripts of the words, comma-separated",
    "limit": "use only this number of words or crops, from the first",
    "seed": "of random numbers",
    "rounds": "rounds in which the sides take turns",
    "seconds": "of each measurement; of `gpu`: of all together",
    "parts": "parts of the benchmark, comma-separated",
    "each": "samples of each kind",
}


@dataclass(frozen=True)
class Value:
    """full: the default. quick: the default with --quick, None for the same. kind: of values given as text."""

    full: Any
    quick: Any = None
    kind: type | None = None

    def default(self, *, quick: bool) -> Any:  # noqa: ANN401 - as declared
        return self.quick if quick and self.quick is not None else self.full


Options = Mapping[str, Value]
MODEL: Options = {"model": Value("tbsrn"), "model_store": Value(BUNDLED)}
DATA: Options = {"data": Value(None, kind=Path)}  # required: no research crops travel with the project
READING: Options = {"readers": Value(",".join(READERS)), "seed": Value(SEED)}


def add(parser: argparse.ArgumentParser, options: Options, *, quick: bool) -> None:
    for name, value in options.items():
        default = value.default(quick=quick)
        kind = value.kind or (str if default is None else type(default))
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=Path if issubclass(kind, Path) else kind,
            default=default,
            required=default is None and name == "data",
            help=f"{HELP[name]} (default: {default})",
        )


def command(name: str, options: Options, args: argparse.Namespace) -> str:
    """The shortest command for these values, with each path cut to its last part, as folders differ."""
    words = [f"python -m bench {name}", *(["--quick"] if args.quick else [])]
    for key, value in options.items():
        given = getattr(args, key)
        if given != value.default(quick=args.quick):
            shown = given.name if isinstance(given, Path) else str(given)
            words.append(f"--{key.replace('_', '-')} {shlex.quote(shown)}")
    return " ".join(words)
