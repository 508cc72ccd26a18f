"""`python -m app upscale`: files or folders of crops -> PNGs of twice the size, without a server.

find every source and its target -> for a batch at a time: read -> predictor -> write
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from app import codec, geometry
from app.errors import ServiceError, StartupError
from app.geometry import Chw, Geometry, Layout
from app.predictor import Predictor
from app.settings import Settings
from model_store.pixels import Rgb

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
Jobs = dict[Path, Path]  # target -> source


def find(inputs: Sequence[Path], out: Path) -> Jobs:
    """`out/<name>.png` for every crop; a folder is walked, and its structure kept below `out`.

    A file that was named is taken whatever its suffix; what lies in `out` already is none of the crops. Raises
    StartupError for a path that is not there, a folder without pictures, two sources of one target, a target that
    is a source, or an `out` that is no folder.
    """
    jobs: Jobs = {}
    if out.exists() and not out.is_dir():
        raise StartupError(f"{out} is not a folder; the pictures go into one.")
    for path in inputs:
        root = path if path.is_dir() else path.parent
        for source in _sources(path, out):
            target = (out / source.relative_to(root)).with_suffix(".png")
            if target in jobs:
                raise StartupError(f"{jobs[target]} and {source} would both become {target}; upscale them apart.")
            jobs[target] = source
    sources = {source.resolve() for source in jobs.values()}
    for target in jobs:
        if target.resolve() in sources:
            raise StartupError(f"{target} would be overwritten, and is one of the crops; choose another folder.")
    return jobs


def _sources(path: Path, out: Path) -> list[Path]:
    if not path.exists():
        raise StartupError(f"{path} does not exist.")
    if not path.is_dir():
        return [path]
    own = out.resolve() if out.resolve() != path.resolve() else None
    found = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    sources = sorted(p for p in found if own is None or own not in p.resolve().parents)
    if not sources:
        raise StartupError(f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
    return sources


def upscale(jobs: Jobs, *, predictor: Predictor, settings: Settings, mode: Geometry) -> int:
    """Write every target; returns how many failed, each with one line on stderr."""
    failed = 0
    left = iter(jobs.items())
    with tqdm(total=len(jobs), unit="crop", disable=None) as progress:
        while chunk := list(islice(left, predictor.batch_sizes[-1])):
            for source, problem in _chunk(chunk, predictor, settings, mode):
                failed += 1
                tqdm.write(f"{source}: {problem}", file=sys.stderr)
            progress.update(len(chunk))
    return failed


def _chunk(
    chunk: Sequence[tuple[Path, Path]], predictor: Predictor, settings: Settings, mode: Geometry
) -> Iterator[tuple[Path, Exception]]:
    """Super-resolves one batch of (target, source); yields those that failed, and why."""
    read: list[tuple[Path, Path, Rgb, Layout]] = []
    for target, source in chunk:
        try:
            rgb = _read(source, settings)
        except (ServiceError, OSError) as exc:
            yield source, exc
            continue
        read.append((target, source, rgb, geometry.plan(*rgb.shape[:2], geometry=mode, spec=predictor.spec)))
    windows = [window for *_, rgb, layout in read for window in geometry.split(rgb, layout, predictor.spec)]
    try:
        answers = iter(_infer(windows, predictor))
    except ServiceError as exc:
        yield from ((source, exc) for _, source, *_ in read)
        return
    for target, source, rgb, layout in read:
        sr = list(islice(answers, len(layout.starts)))
        merged = geometry.merge(sr, layout, predictor.spec) if sr else geometry.enlarge(rgb, layout)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(codec.encode(merged, "png"))
        except OSError as exc:
            yield source, exc


def _read(source: Path, settings: Settings) -> Rgb:
    data = source.read_bytes()
    codec.probe(data, max_pixels=settings.max_image_pixels, min_side_px=settings.min_side_px)
    return codec.decode(data)


def _infer(windows: Sequence[Chw], predictor: Predictor) -> list[Chw]:
    answers: list[Chw] = []
    for first in range(0, len(windows), predictor.batch_sizes[-1]):
        batch = np.stack(windows[first : first + predictor.batch_sizes[-1]])
        size = next(size for size in predictor.batch_sizes if size >= len(batch))
        padded = np.pad(batch, [(0, size - len(batch)), (0, 0), (0, 0), (0, 0)])
        answers += list(predictor.run_blocking(padded)[: len(batch)])
    return answers
