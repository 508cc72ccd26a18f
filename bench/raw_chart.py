"""The chart of `python -m bench raw`: images a second of each side, and the ratio to the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from training.calibration.svg import GROUND, INK, SOFT, box, document, line, text

LEFT, WIDTH, TOP, ROW = 210.0, 380.0, 66.0, 30.0  # pixels
THEIRS, OURS, BEST = "#9aa5b1", "#5f8f8a", "#0f766e"


def chart(report: dict[str, Any]) -> str:
    """SVG with one bar per side at its best batch size, and the range over the rounds."""
    rows = {
        side: max(found.items(), key=lambda sized: sized[1]["images_per_s"])
        for side, found in report["sides"].items()
    }
    reach = 1.02 * max(figures["high"] for _, figures in rows.values())
    height = TOP + ROW * len(rows) + 12
    body = [
        text(12, 24, "Images a second on the processor alone", size=16, bold=True),
        text(
            12, 44, f"{report['machine']}; lines are the range over {report['rounds']} rounds", size=12, fill=SOFT
        ),
    ]
    for place, (side, (size, figures)) in enumerate(rows.items()):
        times = report["over_reference"][side]["throughput"]
        body += _bar(side, size, figures, times, TOP + ROW * place, WIDTH / reach)
    return document(LEFT + WIDTH + 165, height, body, title="Images a second, against the reference predictor")


def _bar(side: str, size: str, figures: dict[str, float], times: float, top: float, scale: float) -> Iterator[str]:
    colour = THEIRS if side.startswith("reference") else BEST if side.endswith("bf16") else OURS
    middle = top + ROW / 2
    yield text(LEFT - 10, middle + 4, side, anchor="end")
    yield box(LEFT, top + 5, scale * figures["images_per_s"], ROW - 10, fill=colour)
    low, high = LEFT + scale * figures["low"], LEFT + scale * figures["high"]
    yield line(low, middle, high, middle, stroke=GROUND, width=4)
    yield line(low, middle, high, middle, stroke=INK, width=1.5)
    end = max(high, LEFT + scale * figures["images_per_s"])
    yield text(end + 8, middle + 4, f"{figures['images_per_s']:.1f}  (x{times:.1f}, batch {size})", size=12)
