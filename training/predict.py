"""Super-resolves picture files like PaddleOCR's infer_sr, but clips pixels that infer_sr lets overflow.

    python -m training predict --weights tbsrn:1 --image crop.png more_crops/ --out infer_result

    file -> RGB -> stretched to 64x16 -> network -> clipped and rounded -> OUT/sr_<file>, 128x32

A PNG, JPEG, WebP or BMP gives a result of its name; a file of another format gives a PNG, `sr_photo.png`.
--compare also writes lr_<file> and bicubic_<file>. An unreadable picture is logged and skipped; the command then
ends with code 2.
"""

from __future__ import annotations

import argparse
import io
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from model_store import BUNDLED, pictures
from model_store.errors import PictureError
from model_store.left_out import kind_of_file, left_out, system_file
from model_store.pixels import Rgb, crops_to_lr, resize, sr_to_crops
from training.errors import DataError
from training.predictor import ENGINES, LoadedNetwork, open_weights

KEPT = (".png", ".jpg", ".jpeg", ".webp", ".bmp")  # suffixes that a result keeps; the others become .png
BATCH_SIZE = 16  # crops; their attention maps take about 300 MB
JPEG_QUALITY = 95  # OpenCV's default, which infer_sr uses

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", required=True, help="checkpoint, .onnx, Paddle folder, or model such as tbsrn:1"
    )
    parser.add_argument("--image", type=Path, nargs="+", required=True, help="picture files, or folders of them")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--compare", action="store_true", help="also write LR and bicubic of each picture")
    parser.add_argument(
        "--engine", choices=ENGINES, default="auto", help="library that runs the network (default: %(default)s)"
    )
    parser.add_argument("--store", type=Path, default=BUNDLED, help="model store (default: the bundled one)")


def run(args: argparse.Namespace) -> None:
    """Write sr_<file> for each picture. Raises DataError at the end if some could not be read."""
    others: Counter[str] = Counter()
    files = find_pictures(args.image, others)
    network = open_weights(args.weights, engine=args.engine, store=args.store)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise DataError(f"cannot write into {args.out}: {exc}") from exc
    unread = 0
    with logging_redirect_tqdm(), tqdm(total=len(files), unit="picture", disable=None) as bar:
        for start in range(0, len(files), BATCH_SIZE):
            chunk = files[start : start + BATCH_SIZE]
            made = list(_readable(chunk))
            unread += len(chunk) - len(made)
            if made:
                _write(args.out, made, network, compare=args.compare)
            bar.update(len(chunk))
    print(f"{len(files) - unread} pictures in {args.out}, by {network.name} ({network.engine})")
    if others:
        print(left_out(others))
    if unread:
        raise DataError(f"{unread} of {len(files)} pictures could not be read")


def find_pictures(paths: Sequence[Path], others: Counter[str]) -> list[Path]:
    """The given files, and the pictures directly in the given folders, sorted.

    others: counts the other files of the folders, by kind.
    Raises DataError for a missing path, a folder without pictures, or two files with the same output name.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = [file for file in sorted(path.iterdir()) if not file.is_dir()]
            inside = [file for file in below if _is_picture(file)]
            others.update(kind_of_file(file.name) for file in below if not _is_picture(file))
            if not inside:
                raise DataError(f"{path} holds no picture ({', '.join(pictures.SUFFIXES)})")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f"{path} does not exist")
    by_name: dict[str, Path] = {}
    for file in files:
        if not _is_picture(file):
            raise DataError(f"{file} must end in one of {', '.join(pictures.SUFFIXES)}")
        earlier = by_name.setdefault(_result_name(file), file)
        if earlier is not file:
            raise DataError(f"{earlier} and {file} would both be written as sr_{_result_name(file)}")
    return files


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in pictures.SUFFIXES and not system_file(file.name)


def _result_name(file: Path) -> str:
    return file.name if file.suffix.lower() in KEPT else f"{file.stem}.png"


def super_resolve(crops: Sequence[Rgb], network: LoadedNetwork) -> list[Rgb]:
    """Crops of any size, uint8 (H, W, 3) RGB -> SR of the network's one size, clipped and rounded."""
    return sr_to_crops(network.run(crops_to_lr(crops, network.spec)), network.spec)


def _readable(files: Sequence[Path]) -> Iterator[tuple[Path, Rgb]]:
    for file in files:
        try:
            yield file, pictures.decode(file.read_bytes())
        except (OSError, PictureError) as exc:
            _log.warning("%s cannot be read: %s", file, exc)


def _write(out: Path, made: Sequence[tuple[Path, Rgb]], network: LoadedNetwork, *, compare: bool) -> None:
    spec = network.spec
    for (file, crop), sr in zip(made, super_resolve([crop for _, crop in made], network), strict=True):
        _save(out / f"sr_{_result_name(file)}", sr)
        if compare:
            lr = resize(crop, height=spec.height, width=spec.width)
            _save(out / f"lr_{_result_name(file)}", lr)
            bicubic = resize(lr, height=spec.scale * spec.height, width=spec.scale * spec.width)
            _save(out / f"bicubic_{_result_name(file)}", bicubic)


def _save(path: Path, rgb: Rgb) -> None:
    """Encode in memory, then write, so that a full disk is a single OSError."""
    buffer = io.BytesIO()
    kind = Image.registered_extensions()[path.suffix.lower()]
    options = {"quality": JPEG_QUALITY} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(rgb).save(buffer, kind, **options)
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as exc:
        raise DataError(f"cannot write {path}: {exc}") from exc
