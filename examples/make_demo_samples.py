"""Make the samples of the demo page: one picture of each kind of use, with the text that it shows.

    text-telescope serve &
    python -m examples.make_demo_samples               # writes app/demo/static/samples

Each picture is rendered and degraded from one seed by `training.data`, so it carries no one's rights. The texts
are combined by the seed from the lists below. RULE says how the seed is chosen; samples.json holds the rule, the
words won and lost over all seeds that were tried, and each line's true text and place. The committed files are the
reference: with other fonts the seeds give other pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image, ImageDraw

from examples.make_pages import Line
from training.data.degrade import degrade
from training.data.degrade_config import preset
from training.data.fonts import BUNDLED, Font, find_fonts
from training.data.grounds import scenery
from training.errors import TrainingError

OUT = Path(__file__).parents[1] / "app" / "demo" / "static" / "samples"
RULE = (
    "Each sample is a random picture: a seed chooses its words, its blur and its noise. For each kind, the sizes "
    "of the letters and the range of blur were set by hand so that gains show. Four samples are chosen because "
    "they show a gain: the first seed, from 0 upwards, at which all lines are found from end to end, at least two "
    "more words are read and none is lost. The last is the first seed at which every word is read and no line "
    "needs the model."
)
MOST_SEEDS = 1000  # of one kind; the program stops without a picture after them
WORDS = """
Harbour Market Station Garden Museum Library Bakery Platform Theatre Coffee Parking Entrance Tickets Summer
Winter Morning Evening Monday Friday Sunday Northern Southern Village Bridge Castle Church School Hospital
Railway Airport Mountain River Forest Island Street Square Corner Public Private Service Office Gallery
Concert Festival Kitchen Window Bottle Basket Flower Orange Butter Cheese Honey Pepper Potato Tomato
""".split()  # noqa: SIM905  a list of words reads better as text
SPOKEN = """
never thought about tomorrow without asking where people before another question because nothing between
remember always happened together should matter really believe waiting outside morning follow quietly promise
""".split()  # noqa: SIM905  a list of words reads better as text
Rng = np.random.Generator
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Kind:
    """One kind of sample. size: width and height in its own pixels. lines: made from the seed's numbers.

    blur_px: range of the strongest blur, the standard deviation in pixels of the sample. sharp_share: of the
    height, from the top, which stays sharp, as where a page leaves the focus.
    """

    name: str
    title: str
    size: tuple[int, int]
    paper: Colour | None  # None: scenery
    ink: Colour
    lines: Callable[[Rng], list[Line]]
    blur_px: tuple[float, float]
    sharp_share: float = 0.0
    more_words: int = 2  # read than before; 0: all are read as they are


def sign(rng: Rng) -> list[Line]:
    words = [str(word).upper() for word in rng.choice(WORDS, 2, replace=False)]
    return [Line(" ".join(words) + f" {rng.integers(10, 90)}", "Lato-Bold", 15, 12, 9)]


def screenshot(rng: Rng) -> list[Line]:
    first, second, third = rng.choice(WORDS, 3, replace=False)
    return [Line(f"{first} {second.lower()} {third.lower()} {rng.integers(100, 999)}", "DejaVuSans", 16, 10, 8)]


def subtitle(rng: Rng) -> list[Line]:
    words = [str(word) for word in rng.choice(SPOKEN, 4, replace=False)]
    return [Line(" ".join(words).capitalize() + "?", "LiberationSans-Bold", 19, 16, 17)]


def scan(rng: Rng) -> list[Line]:
    words = [str(word).lower() for word in rng.choice([*WORDS, *SPOKEN], 45, replace=False)]
    texts = [" ".join(words[5 * i : 5 * i + 5]).capitalize() for i in range(9)]
    return [Line(text, "LiberationSerif-Regular", 16, 22, 16 + 29 * i) for i, text in enumerate(texts)]


def sharp(rng: Rng) -> list[Line]:
    words = [str(word) for word in rng.choice(WORDS, 15, replace=False)]
    return [Line(" ".join(words[3 * i : 3 * i + 3]), "Lato-Regular", 20, 22, 16 + 34 * i) for i in range(5)]


PAPER, BLACK = (244, 243, 238), (38, 40, 46)
KINDS = (
    Kind("sign", "A blurred sign", (240, 34), (24, 84, 60), (240, 244, 236), sign, (2.5, 3.0)),
    Kind("scan", "A scan", (340, 286), PAPER, BLACK, scan, (2.1, 2.5), 0.3),
    Kind("subtitle", "A subtitle", (400, 58), None, (250, 250, 246), subtitle, (2.6, 3.2)),
    Kind("screenshot", "A screenshot line", (320, 36), (250, 251, 253), (36, 41, 47), screenshot, (2.5, 3.0)),
    Kind("sharp", "A sharp notice", (320, 192), PAPER, BLACK, sharp, (0.4, 0.6), more_words=0),
)


@dataclass(frozen=True)
class Sample:
    """A picture, uint8 (H, W, 3), and each line's text and box (left, top, right, bottom) in its pixels."""

    rgb: np.ndarray
    texts: list[str]
    boxes: list[list[int]]


def make_sample(kind: Kind, fonts: Mapping[str, Font], *, seed: int) -> Sample:
    """Drawn at twice the size, then degraded to it."""
    rng = np.random.default_rng(seed)
    hr = _ground(kind, rng)
    pen, boxes = ImageDraw.Draw(hr), []
    edge = 3 if kind.paper is None else 0  # black around the letters of a subtitle
    lines = kind.lines(rng)
    for line in lines:
        place, font = (2 * line.x, 2 * line.y), fonts.get(line.font, BUNDLED).at(2 * line.size)
        pen.text(place, line.text, fill=kind.ink, font=font, stroke_width=edge, stroke_fill="black")
        boxes.append([round(side / 2) for side in pen.textbbox(place, line.text, font=font)])
    rgb = _blurred(np.array(hr), kind, seed)
    return Sample(rgb, [" ".join(line.text.split()) for line in lines], boxes)


def _ground(kind: Kind, rng: Rng) -> Image.Image:
    width, height = 2 * kind.size[0], 2 * kind.size[1]
    if kind.paper is None:
        dim = np.clip(0.6 * scenery((height, width), rng), 0, 255).astype(np.uint8)
        return Image.fromarray(dim.transpose(1, 2, 0))
    return Image.new("RGB", (width, height), kind.paper)


def _blurred(hr: np.ndarray, kind: Kind, seed: int) -> np.ndarray:
    low, high = (2 * blur for blur in kind.blur_px)  # in pixels of `hr`
    photo = replace(
        preset("medium"),
        gaussian_share=1.0,
        defocus_share=0.0,
        misalign_share=0.0,
        light_share=0.0,
        anisotropy=(0.9, 1.0),
    )
    blurred = degrade(hr, config=replace(photo, sigma_px=(low, high)), seed=seed)
    if not kind.sharp_share:
        return blurred
    clear = degrade(hr, config=replace(photo, sigma_px=(0.6, 1.0)), seed=seed)
    share = np.clip((np.linspace(0, 1, len(clear)) - kind.sharp_share) / 0.2, 0, 1)[:, None, None]
    mixed: np.ndarray = np.rint(share * blurred + (1 - share) * clear).astype(np.uint8)
    return mixed


def words_read(truth: str, reading: str) -> list[bool]:
    """Whether each word of `truth` is in `reading`, in order; PP-OCR often leaves out the spaces between them."""
    words = truth.split()

    @cache
    def best(index: int, start: int) -> tuple[bool, ...]:
        if index == len(words):
            return ()
        without = (False, *best(index + 1, start))
        at = reading.find(words[index], start)
        with_it = (True, *best(index + 1, at + len(words[index]))) if at >= 0 else without
        return max(with_it, without, key=sum)

    return list(best(0, 0))


def gain(sample: Sample, lines: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    """Words read more, words read no longer, words not read before."""
    before, after = [_words(sample, lines, of) for of in (_plain, _kept)]
    pairs = list(zip(before, after, strict=True))
    return sum(b < a for b, a in pairs), sum(b > a for b, a in pairs), before.count(False)


def all_found(sample: Sample, lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the lines found reach from end to end of each true line, but for a twentieth of it."""
    for box, within in zip(sample.boxes, _by_true_line(sample, lines), strict=True):
        ends = [x for line in within for x, _ in line["box"]] or [0.0]
        spare = (box[2] - box[0]) / 20
        if min(ends) > box[0] + spare or max(ends) < box[2] - spare:
            return False
    return True


def _plain(line: Mapping[str, Any]) -> str:
    return str(line["reading"]["plain"]["text"])


def _kept(line: Mapping[str, Any]) -> str:
    return str(line["reading"]["text"])


def _words(
    sample: Sample, lines: Sequence[Mapping[str, Any]], text: Callable[[Mapping[str, Any]], str]
) -> list[bool]:
    """Of all words of the sample."""
    found = [" ".join(map(text, within)) for within in _by_true_line(sample, lines)]
    return [
        read for truth, reading in zip(sample.texts, found, strict=True) for read in words_read(truth, reading)
    ]


def _by_true_line(sample: Sample, lines: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """A line found belongs to the true line in whose box its middle lies."""
    found: list[list[Mapping[str, Any]]] = [[] for _ in sample.boxes]
    for line in lines:
        x, y = np.mean(line["box"], axis=0)
        for (left, top, right, bottom), within in zip(sample.boxes, found, strict=True):
            if left <= x <= right and top <= y <= bottom:
                within.append(line)
    return found


@dataclass(frozen=True)
class Found:
    """The sample of a kind, and the words won and lost over all seeds tried for it, this one included."""

    kind: Kind
    sample: Sample
    tried: int
    won: int
    lost: int


def search(kind: Kind, fonts: Mapping[str, Font], client: httpx.Client) -> Found:
    """The first seed that meets the rule. LookupError if there is none below MOST_SEEDS."""
    all_won = all_lost = 0
    for seed in range(MOST_SEEDS):
        sample = make_sample(kind, fonts, seed=seed)
        picture = {"image": (f"{kind.name}.png", png(sample.rgb))}
        answer = client.post("/v1/super-resolve/page?read=true&pictures=false", files=picture).raise_for_status()
        lines = answer.json()["lines"]
        won, lost, unread = gain(sample, lines)
        all_won, all_lost = all_won + won, all_lost + lost
        complete = not lost and all_found(sample, lines)
        if complete and (won >= kind.more_words if kind.more_words else not unread and _untouched(lines)):
            return Found(kind, sample, seed + 1, all_won, all_lost)
    raise LookupError(f"no seed below {MOST_SEEDS} gives a sample `{kind.name}` that meets the rule")


def _untouched(lines: Sequence[Mapping[str, Any]]) -> bool:
    return all(line["method"] == "kept" for line in lines)


def png(rgb: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def main(argv: list[str] | None = None) -> int:
    """Write the pictures and samples.json; returns the exit code (2 without fonts, a server or a fitting seed)."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.make_demo_samples", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the PNGs and samples.json")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running server that can read")
    parser.add_argument("--fonts", type=Path, help="folder of fonts; default: those installed")
    args = parser.parse_args(argv)
    try:
        fonts = {font.name: font for font in find_fonts(args.fonts)}
        with httpx.Client(base_url=args.url, timeout=60) as client:
            found = [search(kind, fonts, client) for kind in KINDS]
    except (TrainingError, LookupError) as exc:
        print(exc, file=sys.stderr)
        return 2
    except httpx.HTTPError as exc:
        print(f"no samples from {args.url}: {exc} Start a server with `text-telescope serve`", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    for one in found:
        (args.out / f"{one.kind.name}.png").write_bytes(png(one.sample.rgb))
    listed = {"rule": RULE, "samples": [_entry(one) for one in found]}
    (args.out / "samples.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    print(
        *(f"{one.kind.name}: {one.tried} seeds, {one.won} words won, {one.lost} lost" for one in found), sep="\n"
    )
    return 0


def _entry(found: Found) -> dict[str, Any]:
    kind, sample = found.kind, found.sample
    lines = [{"text": text, "box": box} for text, box in zip(sample.texts, sample.boxes, strict=True)]
    width, height = kind.size
    fields = {"file": f"{kind.name}.png", "title": kind.title, "width": width, "height": height}
    return fields | {"tried": found.tried, "won": found.won, "lost": found.lost, "lines": lines}


if __name__ == "__main__":
    raise SystemExit(main())
