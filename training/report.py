"""report.html of an evaluation: tables and sample crops, in one self-contained file.

    scores -> tables with intervals drawn      crops ranked -> LR | bicubic | SR | HR, with their readings

Crops are ranked by the gain in PSNR over bicubic, because PSNR itself mostly reflects a crop's contrast.
Words that SR made readable or unreadable are shown too, because an average hides both.
Pictures are stored without loss; a few dozen of them stay below 1 MB.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from model_store.pixels import Rgb
from training.report_style import STYLE
from training.scores import PICTURES, Measured, Score, TextScore, is_read, percent

SHOWN = 6  # crops per gallery: five galleries of 6 are about 0.7 MB
NAMES = {"hr": "HR", "bicubic": "bicubic", "sr": "SR"}


class Shown(NamedTuple):
    """One crop of the page. readings: reader -> picture -> text."""

    title: str
    label: str
    psnr_bicubic: float
    psnr_sr: float
    pictures: Mapping[str, Rgb]
    readings: Mapping[str, Mapping[str, str]]

    @property
    def gain(self) -> float:
        """PSNR of SR minus that of bicubic, in dB."""
        return self.psnr_sr - self.psnr_bicubic

    def right(self, picture: str) -> int:
        """How many recognisers read the label in a picture."""
        return sum(is_read(texts[picture], self.label) for texts in self.readings.values())


def write_page(
    path: Path, report: Mapping[str, Any], measured: Sequence[Measured], scores: Sequence[Score]
) -> None:
    """Write the page atomically."""
    crops = list(_crops(measured))
    weights = report["weights"]
    body = [
        f"<h1>{escape(weights['name'])} on {escape(Path(report['data']['path']).name)}</h1>",
        f"<p class=soft>{escape(_conditions(report))}</p>",
        "<h2>Closeness to HR</h2>",
        f"<p>PSNR in dB, SSIM in [-1, 1]. The averages are over batches of {report['batch_size']}, as PaddleOCR "
        "and TextZoom state them; the means are over crops.</p>",
        _pixel_table(scores, weights["name"]),
    ]
    if scores[0].text:
        body += ["<h2>Words read</h2>", _text_intro(), _text_table(scores)]
    for heading, why, chosen in _galleries(crops, bool(scores[0].text)):
        body += [f"<h2>{heading}</h2>", f"<p>{why}</p>", *map(_card, chosen)]
    command = f"<p><code>{escape(report['command'])}</code></p>"
    body += ["<h2>To reproduce these figures</h2>", command, _origin(report)]
    head = (
        '<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{escape(weights['name'])}: evaluation</title><style>{STYLE}</style>"
    )
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(f"{head}<body>{''.join(body)}</body></html>\n", encoding="utf-8")
    unfinished.replace(path)


def _crops(measured: Sequence[Measured]) -> Iterator[Shown]:
    several = len(measured) > 1
    for part in measured:
        for i, name in enumerate(part.pairs.names):
            yield Shown(
                f"{part.pairs.name}/{name}" if several else name,
                part.pairs.labels[i],
                part.psnr_bicubic[i],
                part.psnr_sr[i],
                {"lr": part.pairs.lr[i], "bicubic": part.bicubic[i], "sr": part.sr[i], "hr": part.pairs.hr[i]},
                {reader: {kind: texts[kind][i] for kind in PICTURES} for reader, texts in part.readings.items()},
            )


def _galleries(crops: Sequence[Shown], with_text: bool) -> Iterator[tuple[str, str, Sequence[Shown]]]:
    order = sorted(crops, key=lambda crop: crop.gain)
    middle = max(0, len(order) // 2 - SHOWN // 2)
    by_gain = "By the gain in PSNR over bicubic."
    if with_text:
        changed = sorted(crops, key=lambda crop: crop.right("sr") - crop.right("bicubic"))
        lost = [crop for crop in changed[:SHOWN] if crop.right("sr") < crop.right("bicubic")]
        won = [crop for crop in changed[: -SHOWN - 1 : -1] if crop.right("sr") > crop.right("bicubic")]
        if lost:
            yield "Made unreadable", "Fewer recognisers read SR than bicubic.", lost
        if won:
            yield "Made readable", "More recognisers read SR than bicubic.", won
    yield "Worst", by_gain, order[:SHOWN]
    if len(order) > SHOWN:
        yield "Median", by_gain, order[middle : middle + SHOWN]
        yield "Best", by_gain, order[: -SHOWN - 1 : -1]


def _card(crop: Shown) -> str:
    sign = "good" if crop.gain > 0 else "bad"
    head = (
        f"<b>{escape(crop.label)}</b><span>{escape(crop.title)}</span>"
        f"<span>PSNR {crop.psnr_bicubic:.2f} &rarr; {crop.psnr_sr:.2f} dB (<span class={sign}>"
        f"{crop.gain:+.2f}</span>)</span>"
    )
    figures = "".join(_figure(crop, kind) for kind in ("lr", "bicubic", "sr", "hr"))
    return f"<article class=crop><header>{head}</header><div class=four>{figures}</div></article>"


def _figure(crop: Shown, kind: str) -> str:
    picture = crop.pictures[kind]
    height, width = picture.shape[:2]
    name = NAMES.get(kind, "LR")
    alt = f"{name} of {crop.label}"
    lines = [
        f"<dt>{escape(reader)}<dd>{_reading(texts[kind], crop.label)}"
        for reader, texts in crop.readings.items()
        if kind in texts
    ]
    return (
        f'<figure><img class={kind} src="{_data_url(picture)}" alt="{escape(alt, quote=True)}">'
        f"<figcaption>{name}, {width}&times;{height}</figcaption><dl>{''.join(lines)}</dl></figure>"
    )


def _reading(text: str, label: str) -> str:
    mark = "<span class=good>&check;</span>" if is_read(text, label) else "<span class=bad>&cross;</span>"
    return f"{mark} {escape(text) or '<small>nothing</small>'}"


def _data_url(picture: Rgb) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "WEBP", lossless=True, quality=100)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _pixel_table(scores: Sequence[Score], model: str) -> str:
    rows = []
    for score in scores:
        rows.append(f"<tr class=group><th colspan=5>{escape(score.name)}, {score.crops} crops</tr>")
        for name, figures, base in (("bicubic", score.bicubic, None), (model, score.sr, score.bicubic)):
            cells = [
                _figure_cell(getattr(figures, key), getattr(base, key, None), digits)
                for key, digits in (
                    ("psnr_avg", 2),
                    ("ssim_avg", 4),
                    ("psnr_image_mean", 2),
                    ("ssim_image_mean", 4),
                )
            ]
            rows.append(f"<tr><td>{escape(name)}{''.join(cells)}</tr>")
    head = "<thead><tr><th><th>PSNR_Avg<th>SSIM_Avg<th>PSNR, mean of crops<th>SSIM, mean of crops</tr></thead>"
    return f"<div class=scroll><table>{head}<tbody>{''.join(rows)}</tbody></table></div>"


def _figure_cell(value: float, base: float | None, digits: int) -> str:
    if base is None:
        return f"<td>{value:.{digits}f}"
    sign = "good" if value >= base else "bad"
    return f"<td>{value:.{digits}f} <span class={sign}>{value - base:+.{digits}f}</span>"


def _text_intro() -> str:
    keys = "".join(f'<span class=key style="background:var(--{kind})"></span>{NAMES[kind]}' for kind in PICTURES)
    return (
        "<p>Share of words read without a mistake in letters and digits, in per cent, with its 95 % Wilson "
        "interval. Fixed: right in SR but not in bicubic; broken: right in bicubic but not in SR.</p>"
        f"<p class=soft>0 to 100 %: {keys}</p>"
    )


def _text_table(scores: Sequence[Score]) -> str:
    rows = []
    for score in scores:
        rows.append(f"<tr class=group><th colspan=7>{escape(score.name)}, {score.crops} words</tr>")
        for reader, text in score.text.items():
            cells = "".join(f"<td>{percent(getattr(text, kind))}" for kind in PICTURES)
            changed = f"<td class=good>{text.fixed}<td class=bad>{text.broken}"
            rows.append(f"<tr><td>{escape(reader)}<td>{_intervals(text)}{cells}{changed}</tr>")
    head = "<thead><tr><th><th><th>HR<th>bicubic<th>SR<th>fixed<th>broken</tr></thead>"
    return f"<div class=scroll><table>{head}<tbody>{''.join(rows)}</tbody></table></div>"


def _intervals(text: TextScore) -> str:
    """SVG from 0 to 100 %: accuracies as dots, their intervals as lines."""
    marks = ['<line class=axis x1="0" x2="200" y1="33" y2="33"/>']
    for row, kind in enumerate(PICTURES):
        figures, y = getattr(text, kind), 6 + 10 * row
        colour = f'style="stroke:var(--{kind});fill:var(--{kind})"'
        marks.append(
            f'<line {colour} x1="{200 * figures.low:.1f}" x2="{200 * figures.high:.1f}" y1="{y}" y2="{y}"/>'
        )
        marks.append(f'<circle {colour} cx="{200 * figures.accuracy:.1f}" cy="{y}" r="2.5"/>')
    spoken = ", ".join(f"{NAMES[kind]} {percent(getattr(text, kind))}" for kind in PICTURES)
    return f'<svg viewBox="-4 0 208 36" role=img aria-label="{spoken}">{"".join(marks)}</svg>'


def _conditions(report: Mapping[str, Any]) -> str:
    data = report["data"]
    (height, width), scale = report["weights"]["input"], report["weights"]["scale"]
    parts = [
        f"Computed by {report['weights']['engine']}. Crops are stretched to {width}×{height} and "
        f"{scale * width}×{scale * height}, as in TextZoom, and read at that size."
    ]
    if "seed" in data:
        presets = ", ".join(data["degradation"])
        parts.append(
            f"Crops at least {data['min_height']} pixels high, degraded ({presets}) with seed {data['seed']}."
        )
    if data["limit"]:
        parts.append(f"Only the first {data['limit']} of each subset.")
    return " ".join(parts)


def _origin(report: Mapping[str, Any]) -> str:
    versions = {**report["libraries"], **report["recognisers"]}
    facts = {
        "weights": f"SHA-256 {report['weights']['sha256']}",
        "code": report["git_commit"] or "not from a checkout",
        "made": report["created_at"],
        "machine": report["machine"],
        "libraries": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }
    return f"<dl>{''.join(f'<dt>{name}<dd>{escape(value)}' for name, value in facts.items())}</dl>"
