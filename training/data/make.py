"""Makes LR/HR pairs in TextZoom's LMDB layout, from crops or from rendered words.

    python -m training make-data word_crops_train.tar pairs --min-height 28
    python -m training make-data rendered pairs --count 16000 --fonts my_fonts
    python -m training make-data word_crops_val.tar test --preset mild,medium,hard   # test/mild, ...

    crops or words -> processes: decode or render, degrade, PNG -> in order -> LmdbWriter

The same command continues a killed run, and ends with the same samples as an uninterrupted one. The recipe in the
LMDB names everything that pixels depend on; a run with another recipe is refused.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from model_store.lmdb_file import DamagedLmdb, check_length
from training.data.builders import CropBuilder, Made, Skipped, WordBuilder
from training.data.crops import MIN_HEIGHT, SEED, CropSource, named_config
from training.data.fonts import find_fonts
from training.data.lmdb import DATA_FILE, Subset
from training.data.lmdb_writer import RECIPE, LmdbWriter
from training.data.parallel import ordered_map
from training.errors import ConfigError, DataError
from training.stop import INTERRUPTED
from training.versions import versions

RENDERED = "rendered"
_PIXEL_LIBRARIES = ("numpy", "cv2", "PIL")  # another version may round otherwise
_log = logging.getLogger(__name__)


class Job(NamedTuple):
    """One data set to make: a task for each sample, and the builder that each process makes for itself."""

    tasks: Iterable[Any]
    total: int
    make_builder: partial[CropBuilder] | partial[WordBuilder]
    about: dict[str, Any]  # for the recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help=f"folder or tar with labels.tsv, or the word `{RENDERED}`")
    parser.add_argument("out", type=Path, help="the LMDB folder to write; with several presets, their parent")
    parser.add_argument("--preset", default="default", help="degradations, comma-separated (default: %(default)s)")
    parser.add_argument("--single", action="store_true", help="store HR without LR, for pretrain-recogniser")
    parser.add_argument("--seed", type=int, default=SEED, help="random seed (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: every core)")
    crops = parser.add_argument_group("crops")
    height = "least height of HR in pixels (default: %(default)s)"
    crops.add_argument("--min-height", type=int, default=MIN_HEIGHT, help=height)
    words = parser.add_argument_group("rendered words")
    words.add_argument("--count", type=int, default=1000, help="number of samples (default: %(default)s)")
    words.add_argument("--words", type=Path, help="file of words, one per line (default: made-up words)")
    words.add_argument("--fonts", type=Path, help="folder of fonts (default: installed ones)")
    words.add_argument("--grounds", type=Path, help="folder of photographs for the background")


def run(args: argparse.Namespace) -> None:
    """Make one LMDB for each preset, and print the numbers of samples written and left out."""
    if min(args.count, args.min_height, args.workers) < 1 or args.seed < 0:
        raise ConfigError("--count, --min-height and --workers must be positive, --seed not negative")
    presets = [None] if args.single else args.preset.split(",")
    jobs = [(preset, _job(args, preset)) for preset in presets]  # checks all arguments before work starts
    try:
        for preset, job in jobs:
            out = args.out / preset if preset and len(presets) > 1 else args.out
            _make(out, job, workers=args.workers)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _job(args: argparse.Namespace, preset: str | None) -> Job:
    config = None if preset is None else named_config(preset)
    about: dict[str, Any] = {"preset": preset, "ranges": _digest(config and asdict(config)), "seed": args.seed}
    if args.source != RENDERED:
        source = CropSource(Path(args.source))
        about |= {"crops": source.path.name, "labels": source.digest, "min_height": args.min_height}
        crop_builder = partial(CropBuilder, config=config, seed=args.seed, min_height=args.min_height)
        return Job(source, len(source), crop_builder, about)
    fonts = find_fonts(args.fonts)
    word_builder = partial(
        WordBuilder, config=config, seed=args.seed, fonts=fonts, words=args.words, grounds=args.grounds
    )
    about |= {"rendered": args.count, "fonts": _digest([font.name for font in fonts])}
    about |= {"words": args.words and _digest(args.words.read_text("utf-8") if args.words.is_file() else "")}
    about |= {"grounds": args.grounds and args.grounds.name}
    word_builder()  # fails here, not in a process, if the word list or photographs are missing
    return Job(range(args.count), args.count, word_builder, about)


def _make(out: Path, job: Job, *, workers: int) -> None:
    recipe = json.dumps(job.about | versions(_PIXEL_LIBRARIES), sort_keys=True)
    if out.is_dir() and _stored_recipe(out) == recipe:
        print(f"{out}: complete already, {len(Subset(out))} samples")
        return
    skipped = {"unreadable": 0, "too low": 0}
    bar = tqdm(total=job.total, unit="sample", desc=out.name, disable=None)
    with LmdbWriter(out, recipe=recipe) as writer, bar, logging_redirect_tqdm():
        tasks = iter(job.tasks)
        passed = _pass_over(tasks, job.make_builder(), len(writer))
        for made in _chain(passed, ordered_map(job.make_builder, tasks, workers=workers if workers > 1 else 0)):
            bar.update()
            if isinstance(made, Skipped):
                skipped[made.kind] += 1
                if made.kind == "unreadable":
                    _log.warning("skipped: %s", made.reason)
            elif made is not None:
                writer.add(made.label, hr=made.hr, lr=made.lr)
        written = len(writer)
    left_out = ", ".join(f"{count} {kind}" for kind, count in skipped.items() if count)
    print(f"{out}: {written} samples" + (f", left out {left_out}" if left_out else ""))


def _pass_over(tasks: Iterator[Any], builder: CropBuilder | WordBuilder, written: int) -> Iterator[Skipped | None]:
    """Skip the tasks of an earlier run -> for each, None if it wrote a sample, else the reason why not."""
    while written:
        try:
            reason = builder.refuses(next(tasks))
        except StopIteration:
            raise DataError("the source has fewer readable samples than were written: it has changed") from None
        written -= reason is None
        yield reason


def _chain(passed: Iterable[Skipped | None], made: Iterable[Made | Skipped]) -> Iterator[Made | Skipped | None]:
    yield from passed
    yield from made


def _digest(value: object) -> str:
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def _stored_recipe(folder: Path) -> str:
    try:
        with lmdb.open(str(folder), readonly=True, lock=False) as environment:
            check_length(environment, folder / DATA_FILE)
            with environment.begin() as stored:
                return (stored.get(RECIPE) or b"").decode()
    except (lmdb.Error, DamagedLmdb):
        return ""  # no whole LMDB: the writer raises
