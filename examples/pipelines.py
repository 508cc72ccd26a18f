"""The common part of the OCR examples: read a page without and with the service, and show the differences."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from text_telescope import TelescopeClient, TelescopeError

PAGE = Path(__file__).parent / "pages" / "market.png"
Texts = dict[tuple[float, ...], str]  # a line's corners on the page, (x, y, x, y, ...) -> its text
Read = Callable[[np.ndarray, TelescopeClient | None], Texts]


def corners(box: object) -> tuple[float, ...]:
    """A detector's polygon as a key; the same lines are found with and without the service."""
    return tuple(np.asarray(box, float).ravel().tolist())


def difference(without: Texts, with_service: Texts) -> list[str]:
    """Line by line down the page: "  same", or "- without the service" above "+ with it"."""
    lines = []
    for box in sorted(without.keys() | with_service.keys(), key=lambda box: (box[1], box[0])):
        before, after = without.get(box, ""), with_service.get(box, "")
        lines += [f"  {before}"] if before == after else [f"- {before}", f"+ {after}"]
    return lines


def main(argv: list[str] | None, *, name: str, read: Read) -> int:
    """The command line of an example. read: gets a BGR page, and the client or None for the plain pipeline.

    Returns the exit code: 2, with one sentence on stderr, if the page or the service cannot be used.
    """
    parser = argparse.ArgumentParser(prog=f"python -m examples.{name}")
    parser.add_argument("page", nargs="?", type=Path, default=PAGE, help="a picture; default: %(default)s")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running service")
    args = parser.parse_args(argv)
    page = cv2.imread(str(args.page))
    if page is None:
        print(f"{args.page} is no picture that OpenCV can read", file=sys.stderr)
        return 2
    logging.getLogger("httpx").setLevel(logging.WARNING)  # PP-OCR's packages switch all loggers to INFO
    try:
        with TelescopeClient(args.url, channels="bgr") as telescope:
            lines = difference(read(page, None), read(page, telescope))
    except TelescopeError as exc:
        print(f"{args.url}: {exc} Start a service with `text-telescope serve`.", file=sys.stderr)
        return 2
    if not lines:
        print(f"{args.page} has no text that the detector finds")
        return 0
    print("  read alike, - without the service, + with it", *lines, sep="\n")
    return 0
