"""`text-telescope read`: pages in; their text, JSON, hOCR or a searchable PDF out.

    find: pages -> page by page: read its file -> reader -> ReadPage -> form -> stdout, one file, or a file a page

The reader is this process, or the client of a service (`app/bulk/page_readers.py`).
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from app.bulk import forms
from app.bulk.forms import ENDINGS, Form, FormName, ReadPage
from app.bulk.upscale import find, find_for_one
from app.errors import StartupError
from app.imaging.quality_gate import Mode
from model_store.left_out import left_out

PDF_SIGNATURE = b"%PDF-"
PageReader = Callable[[bytes], dict[str, Any]]  # a picture's file -> the JSON of POST /v1/super-resolve/page
Opened = AbstractContextManager[PageReader]
Document = tuple[Path | None, list[Path]]  # its file, None for stdout, and the pages in it


class PageFailed(Exception):
    """One page cannot be read; the message says why."""


@dataclass
class Summary:
    """Counts over all pages. failed: also folders that cannot be read, and files that cannot be written."""

    pages: int
    failed: int
    lines: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # files of folders that are no pictures, by kind

    def description(self) -> str:
        """`12 pages: 310 lines, 1 failed; 2 files left out: 2 .txt`"""
        failed = f", {self.failed} failed" if self.failed else ""
        pages = f"{self.pages} page{'s' * (self.pages != 1)}: {self.lines} line{'s' * (self.lines != 1)}{failed}"
        return "; ".join(filter(None, [pages, left_out(self.left_out)]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="PAGE", help="pictures of pages, or folders of them"
    )
    parser.add_argument(
        "--format",
        choices=get_args(FormName),
        help="text (the default), json (the API's, a page a line), hocr, or pdf (pictures with text to search)",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="PATH",
        help="a name with an ending, such as text.txt or scan.pdf, is one file for all pages; any other a folder "
        "with a file for each. Default: stdout",
    )
    parser.add_argument(
        "--mode",
        choices=get_args(Mode),
        help="auto (the default): super-resolve the lines that are read unsurely, to read them again; always: all",
    )
    parser.add_argument(
        "--layout",
        choices=("auto", "page", "line"),
        help="auto (the default): a small picture of a line's form is one line; page: look for lines in every "
        "picture; line: every picture is one line",
    )


def read(
    inputs: Sequence[Path], out: Path | None, form_name: FormName | None, opened: Callable[[], Opened]
) -> int:
    """The exit code. opened: opens the reader, once the inputs are known to be there.

    Each page that fails prints one line to stderr. Raises StartupError as `find`, and for a wrong form.
    """
    is_file = out is not None and not out.is_dir() and (bool(out.suffix) or out.is_file())
    name = form_name or _named_by(out.suffix if out and is_file else "")
    form = _form(name, out)
    if out and not is_file:
        jobs = find(inputs, out, ENDINGS[name][0])
        documents: list[Document] = [(target, [source]) for target, source in jobs.items()]
    else:
        jobs = find_for_one(inputs, out)
        documents = [(out, list(jobs))]
    summary = Summary(len(jobs), len(jobs.unreadable), left_out=jobs.left_out)
    for error in jobs.unreadable:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
    quiet = True if len(jobs) == 1 or (out is None and sys.stdout.isatty()) else None  # None: at a terminal only
    with opened() as reader, tqdm(total=len(jobs), unit="page", disable=quiet) as progress:
        for target, sources in documents:
            pages = _pages(sources, reader, summary, progress)
            if (first := next(pages, None)) is not None:
                _write(target, form(chain([first], pages), len(sources) > 1), summary)
    if len(jobs) > 1 or summary.left_out:
        print(summary.description(), file=sys.stderr)
    return 1 if summary.failed else 0


def _named_by(ending: str) -> FormName:
    return next((name for name, own in ENDINGS.items() if ending.lower() in own), "text")


def _form(name: FormName, out: Path | None) -> Form:
    """Raises StartupError for a PDF without its package, or to a terminal."""
    if name != "pdf":
        return {"text": forms.text, "json": forms.json_lines, "hocr": forms.hocr}[name]
    if out is None and sys.stdout.isatty():
        raise StartupError("A PDF is no text for a terminal; name its file, such as -o scan.pdf.")
    from app.bulk.pdf import pdf

    return pdf


def _pages(sources: Iterable[Path], reader: PageReader, summary: Summary, progress: tqdm) -> Iterator[ReadPage]:
    """The pages that can be read; each other one prints its error."""
    for source in sources:
        try:
            page = ReadPage(source, data := _bytes(source), reader(data))
        except (OSError, PageFailed) as exc:
            _fail(source, exc, summary)
        else:
            summary.lines += len(list(page.lines()))
            yield page
        progress.update()


def _bytes(source: Path) -> bytes:
    """Raises OSError, or PageFailed for a PDF."""
    data = source.read_bytes()
    if data.startswith(PDF_SIGNATURE):
        raise PageFailed(f"a PDF is no picture; render its pages first: pdftoppm -r 200 -png {source} page")
    return data


def _write(target: Path | None, parts: Iterable[bytes], summary: Summary) -> None:
    """A file appears when it is complete."""
    if target is None:
        for part in parts:
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
        return
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.writelines(parts)
        unfinished.replace(target)
    except OSError as exc:
        _fail(target, exc, summary)
    finally:
        unfinished.unlink(missing_ok=True)


def _fail(path: Path, error: Exception, summary: Summary) -> None:
    summary.failed += 1
    tqdm.write(f"{path}: {error}", file=sys.stderr)
