"""`text-telescope upscale`: files or folders of crops -> PNGs of twice the size.

    find: targets and their sources -> in batches: read -> upscaler -> write -> Summary

The upscaler is `local`, or the client of a service (`app/__main__.py`).
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

from tqdm import tqdm

from app.bulk.entries import Entry, EntryResult
from app.bulk.in_process import BulkPipeline, InProcess
from app.bulk.kinds import batched, claim, is_picture, walk
from app.errors import StartupError
from app.settings import Settings
from model_store.left_out import kind_of_file, left_out
from model_store.pictures import SUFFIXES


class Jobs(dict[Path, Path]):
    """Target -> source. left_out: files of folders that are no pictures, by kind. unreadable: folders."""

    def __init__(self) -> None:
        super().__init__()
        self.left_out: Counter[str] = Counter()
        self.unreadable: list[OSError] = []


@dataclass(frozen=True)
class Upscaled:
    """One crop's PNG, with method and reason as in the API."""

    data: bytes
    method: str
    reason: str


Upscaler = Callable[[Sequence[bytes]], Sequence[Upscaled | str]]  # in order; a str is the error of that crop


@dataclass
class Summary:
    """Counts over all crops."""

    done: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # method -> reasons
    failed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # files of folders that are no pictures, by kind

    def description(self) -> str:
        """`600 crops: 580 enlarged (sharp 580), 20 super-resolved (blurred 20); 1 file left out: 1 .txt`"""
        counts = {method: reasons.total() for method, reasons in self.done.items()}
        parts = []
        for method in sorted(counts, key=counts.__getitem__, reverse=True):
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.done[method].most_common())
            parts.append(f"{counts[method]} {method.replace('_', '-')} ({reasons})")
        parts += [f"{self.failed} failed"] if self.failed else []
        total = sum(counts.values()) + self.failed
        crops = f"{total} crop{'s' * (total != 1)}: {', '.join(parts)}"
        return "; ".join(filter(None, [crops, left_out(self.left_out)]))


def find(inputs: Sequence[Path], out: Path, ending: str = ".png") -> Jobs:
    """`out/<name>.png` for every picture; folders are walked, and their structure is kept below `out`.

    A file given by name is read regardless of its suffix; files already in `out` are not read. Raises StartupError
    for a missing path, a folder without pictures, two sources of one target, a target that is also a source,
    or an `out` that is no folder or cannot be written.
    """
    jobs = Jobs()
    if out.exists() and not out.is_dir():
        raise StartupError(f"{out} is not a folder; the results go into one.")
    for path in inputs:
        root = path if path.is_dir() else path.parent
        for source in _sources(path, out, jobs):
            claim(jobs, (out / source.relative_to(root)).with_suffix(ending), source)
    _check(jobs, jobs.values(), out)
    return jobs


def find_for_one(inputs: Sequence[Path], target: Path | None) -> Jobs:
    """Every picture, as its own target, for one document of all of them. target: None for stdout.

    Raises StartupError as `find`.
    """
    jobs = Jobs()
    for path in inputs:
        jobs |= {source: source for source in _sources(path, None, jobs)}
    if target:
        _check([target], jobs, target.parent)
    return jobs


def _check(targets: Iterable[Path], sources: Iterable[Path], folder: Path) -> None:
    """Raises StartupError for a target that is a source, or a folder that cannot be written."""
    resolved = {source.resolve() for source in sources}
    for target in targets:
        if target.resolve() in resolved:
            raise StartupError(f"{target} would be overwritten, and is one of the inputs; choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as exc:
        raise StartupError(f"{folder} cannot be written ({exc.strerror}); choose another folder.") from exc


def _sources(path: Path, out: Path | None, jobs: Jobs) -> list[Path]:
    if not path.exists():
        raise StartupError(f"{path} does not exist.")
    if not path.is_dir():
        return [path]
    files = sorted(walk(path, jobs.unreadable.append))
    if out and out.resolve() != path.resolve():
        files = [file for file in files if out.resolve() not in file.resolve().parents]
    found = [file for file in files if is_picture(str(file))]
    jobs.left_out.update(kind_of_file(str(file)) for file in files if not is_picture(str(file)))
    if not (found or jobs.unreadable):
        others = left_out(jobs.left_out)
        raise StartupError(f"{path} holds no pictures ({', '.join(SUFFIXES)}){others and f'; {others}'}.")
    return found


def upscale(jobs: Jobs, upscaler: Upscaler, *, batch: int) -> Summary:
    """Write every target, `batch` crops at a time; each failure prints one line to stderr."""
    summary = Summary(failed=len(jobs.unreadable), left_out=jobs.left_out)
    for error in jobs.unreadable:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
    with tqdm(total=len(jobs), unit="crop", disable=None) as progress:
        for chunk in batched(jobs.items(), batch):
            for source, problem in _chunk(chunk, upscaler, summary):
                summary.failed += 1
                tqdm.write(f"{source}: {problem}", file=sys.stderr)
            progress.update(len(chunk))
    return summary


def _chunk(chunk: Sequence[tuple[Path, Path]], upscaler: Upscaler, summary: Summary) -> Iterator[tuple[Path, str]]:
    """Upscales some (target, source); yields each failed source with its error."""
    read: list[tuple[Path, Path, bytes]] = []
    for target, source in chunk:
        try:
            read.append((target, source, source.read_bytes()))
        except OSError as exc:
            yield source, str(exc)
    for (target, source, _), result in zip(read, upscaler([data for *_, data in read]), strict=True):
        if isinstance(result, str):
            yield source, result
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(result.data)
        except OSError as exc:
            yield source, str(exc)
        else:
            summary.done[result.method][result.reason] += 1


def local(in_process: InProcess, *, settings: Settings) -> Upscaler:
    """The upscaler of this process."""
    pipeline = BulkPipeline(in_process, image_format="png", settings=settings)
    return lambda crops: [_upscaled(result) for result in pipeline(Entry("", crop) for crop in crops)]


def _upscaled(result: EntryResult) -> Upscaled | str:
    if result.failure:
        return result.failure.detail
    assert result.decision, "a picture without failure has one"
    return Upscaled(result.data, result.decision.method, result.decision.reason)
