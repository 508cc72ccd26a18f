"""Words read plainly and through Text Telescope: what `ocr` reports and `calibrate` learns from.

    words -> LR of a subset -> plain | bicubic | always -> each recogniser reads it -> auto, named

The pictures come from the code that the service runs, in this process (`app/in_process.py`). Pictures of the
network and what was read are kept: an interrupted command goes on, and a second model reads only its own pictures.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from app import geometry
from app.estimate import Estimate, estimate
from app.geometry import Layout
from app.in_process import InProcess
from app.judge import ALWAYS, ANY, Aim, Decision
from bench.ocr_data import Word, small
from bench.subject import Subject
from model_store import pixels
from model_store.pixels import Rgb
from training.ocr import TextReader
from training.readings import Readings
from training.scores import is_read

PICTURES = ("plain", "bicubic", "always")  # what there is to read
VARIANTS = ("plain", "bicubic", "always", "auto", "named")  # what is reported
CHUNK = 32  # crops, to keep their windows few


@dataclass(eq=False)
class Measured:
    """One subset. pictures and texts: by variant; texts and decisions by recogniser first, decisions ANY's too."""

    name: str
    labels: list[str]
    estimates: list[Estimate] = field(default_factory=list)
    decisions: dict[str, list[Decision]] = field(default_factory=dict)
    pictures: dict[str, list[Rgb]] = field(default_factory=dict)
    texts: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def right(self, reader: str, variant: str) -> npt.NDArray[np.bool_]:
        """For each word, whether it was read exactly, case and punctuation apart."""
        pairs = zip(self.texts[reader][variant], self.labels, strict=True)
        return np.array([is_read(text, label) for text, label in pairs])


def make_pictures(
    subject: Subject, words: Sequence[Word], subsets: Sequence[str], *, seed: int, out: Path
) -> list[Measured]:
    """Every subset in every variant, not yet read. SR is kept in `out`."""
    made = []
    with tqdm(total=len(subsets) * len(words), desc="super-resolve", unit="crop", disable=None) as bar:
        for name in subsets:
            lr = small(name, words, seed=seed)
            part = Measured(name, [word.label for word in words], estimates=[estimate(crop) for crop in lr])
            sr = _super_resolved(subject, lr, out / "sr" / f"{subject.sha256[:12]}-{name}.npz")
            layouts = [
                geometry.plan(*crop.shape[:2], geometry="native", spec=subject.predictor.spec) for crop in lr
            ]
            pairs = list(zip(lr, layouts, strict=True))
            for recogniser in subject.judge.recognisers or [ANY]:
                aim = Aim("auto", recogniser)
                part.decisions[recogniser] = [subject.judge.decide(*pair, aim) for pair in pairs]
            part.pictures = {
                "plain": lr,
                "bicubic": [geometry.enlarge(*pair) for pair in pairs],
                "always": sr,
            }
            bar.update(len(lr))
            made.append(part)
    return made


def _super_resolved(subject: Subject, lr: list[Rgb], file: Path) -> list[Rgb]:
    """Each crop through the network; taken up from `file` where the same code made the same before."""
    infer = InProcess(subject.predictor, subject.judge, aim=ALWAYS)
    code = inspect.getsource(geometry.split) + inspect.getsource(geometry.merge) + inspect.getsource(pixels)
    made_by = subject.predictor.precision + code
    keys = [
        _key(made_by, geometry.plan(*c.shape[:2], geometry="native", spec=subject.predictor.spec), c) for c in lr
    ]
    kept: dict[str, Rgb] = {}
    if file.exists():
        with np.load(file) as stored:
            kept = {key: stored[key] for key in keys if key in stored}
    missing = [(key, crop) for key, crop in zip(keys, lr, strict=True) if key not in kept]
    for first in range(0, len(missing), CHUNK):
        chunk = missing[first : first + CHUNK]
        answers = infer([crop for _, crop in chunk])
        kept |= {key: answer.rgb for (key, _), answer in zip(chunk, answers, strict=True)}
    if missing:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished.npz")
        np.savez(unfinished, allow_pickle=False, **kept)
        unfinished.replace(file)
    return [kept[key] for key in keys]


def _key(made_by: str, layout: Layout, crop: Rgb) -> str:
    return blake2b(f"{made_by}{layout}{crop.shape}".encode() + crop.tobytes(), digest_size=12).hexdigest()


def read_all(
    measured: Sequence[Measured], readers: Sequence[TextReader], pictures: Sequence[str], *, out: Path
) -> None:
    """Fills in `texts`, one recogniser after the other."""
    with Readings(out / "readings.jsonl") as readings:
        for reader in readers:
            for part in measured:
                part.texts[reader.name] = {
                    variant: readings.read(
                        reader, part.pictures[variant], label=f"{reader.name} {part.name} {variant}"
                    )
                    for variant in pictures
                }


def choose_texts(measured: Sequence[Measured]) -> None:
    """Adds what is read where the service chooses: SR or bicubic, and by the reader's own rule SR or plain.

    A picture that is chosen reads as it does wherever it stands, so none is read again.
    """
    for part in measured:
        for reader, texts in part.texts.items():
            own = part.decisions.get(reader, part.decisions[ANY])
            texts["auto"] = _where(part.decisions[ANY], texts["always"], texts["bicubic"])
            texts["named"] = _where(own, texts["always"], texts["plain"])


def _where(decisions: Sequence[Decision], sr: Sequence[str], others: Sequence[str]) -> list[str]:
    return [a if decision.infers else b for decision, a, b in zip(decisions, sr, others, strict=True)]
