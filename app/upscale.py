"""`python -m app upscale`: files or folders of crops -> PNGs of twice the size, without a server."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from app import codec, geometry
from app.errors import ServiceError, StartupError
from app.geometry import Geometry
from app.predictor import Predictor
from app.settings import Settings
from model_store.pixels import Rgb

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}


def upscale(
    inputs: Sequence[Path], out: Path, *, predictor: Predictor, settings: Settings, geometry_: Geometry
) -> int:
    """Write `out/<name>.png` for every crop; returns how many failed, each with one line on stderr.

    A folder is walked, and its structure kept below `out`. Raises StartupError for a path that is not there
    or two inputs that would become one output.
    """
    jobs = list(find(inputs, out))
    failed = 0
    with tqdm(total=len(jobs), unit="crop", disable=None) as progress:
        for chunk in _chunks(jobs, predictor.batch_sizes[-1]):
            good: list[tuple[Rgb, Path]] = []
            for source, target in chunk:
                try:
                    good.append((_read(source, settings), target))
                except (ServiceError, OSError) as exc:
                    failed += 1
                    tqdm.write(f"{source}: {exc}", file=sys.stderr)
            for rgb, target in _infer(good, predictor, geometry_):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(codec.encode(rgb, "png"))
            progress.update(len(chunk))
    return failed


def find(inputs: Sequence[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    """(source, target) for every crop; a file that was named is taken whatever its suffix."""
    taken: dict[Path, Path] = {}
    for path in inputs:
        if not path.exists():
            raise StartupError(f"{path} does not exist.")
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        root = path if path.is_dir() else path.parent
        for source in found:
            target = (out / source.relative_to(root)).with_suffix(".png")
            if target in taken:
                raise StartupError(f"{taken[target]} and {source} would both become {target}; upscale them apart.")
            taken[target] = source
            yield source, target


def _read(source: Path, settings: Settings) -> Rgb:
    data = source.read_bytes()
    codec.probe(data, max_pixels=settings.max_image_pixels, min_side_px=settings.min_side_px)
    return codec.decode(data)


def _infer(
    good: Sequence[tuple[Rgb, Path]], predictor: Predictor, geometry_: Geometry
) -> Iterator[tuple[Rgb, Path]]:
    if not good:
        return
    tiles = np.concatenate([geometry.split(rgb, predictor.spec) for rgb, _ in good])
    size = next(size for size in predictor.batch_sizes if size >= len(tiles))
    padded = np.zeros((size, *tiles.shape[1:]), np.float32)
    padded[: len(tiles)] = tiles
    for row, (rgb, target) in zip(predictor.run_blocking(padded), good, strict=False):
        height, width = rgb.shape[:2]
        yield (
            geometry.merge(row[None], height=height, width=width, geometry=geometry_, spec=predictor.spec),
            target,
        )


def _chunks(jobs: Iterable[tuple[Path, Path]], size: int) -> Iterator[list[tuple[Path, Path]]]:
    iterator = iter(jobs)
    while chunk := list(islice(iterator, size)):
        yield chunk
