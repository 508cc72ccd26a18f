"""The curve of `python -m training calibrate`: words gained by super-resolution, by blur and recogniser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from model_store.calibration import Rule
from training.calibration.readers import READER_NAMES
from training.calibration.svg import RULE, SOFT, document, dot, line, text

COLOURS = ("#0f766e", "#c2410c", "#4338ca", "#a16207")
Scale = Callable[[float], float]
LEFT, TOP, WIDTH, HEIGHT = 60.0, 84.0, 660.0, 300.0  # pixels of the plot


def curve_chart(report: dict[str, Any]) -> str:
    """SVG. x: measured blur, each mark an eighth of the crops. y: points over the plain crop, 95 % intervals."""
    parts, readers = report["curve"], list(report["recognisers"])
    ends = [abs(gain["points"]) + 1.96 * gain["error"] for part in parts for gain in part["gains"].values()]
    reach: float = 5.0 * math.ceil(max(*ends, 5) / 5)
    low, high = float(parts[0]["blur"][1]) * 0.95, float(parts[-1]["blur"][1]) * 1.05

    def x(blur: float) -> float:
        """Horizontal position, on a logarithmic scale."""
        return LEFT + WIDTH * math.log(min(max(blur, low), high) / low) / math.log(high / low)

    def y(points: float) -> float:
        return TOP + HEIGHT * (reach - points) / (2 * reach)

    body = [*_frame(report, x, y, low, high, reach)]
    for place, (reader, colour) in enumerate(zip(readers, COLOURS, strict=False)):
        marks = [(part["blur"][1], part["gains"][reader]) for part in parts]
        for (x1, before), (x2, after) in pairwise(marks):
            body.append(line(x(x1), y(before["points"]), x(x2), y(after["points"]), stroke=colour, width=2))
        for blur, gain in marks:
            shifted = x(blur) + 3 * (place - 1)
            spread = 1.96 * gain["error"]
            body.append(
                line(shifted, y(gain["points"] - spread), shifted, y(gain["points"] + spread), stroke=colour)
            )
            body.append(dot(x(blur), y(gain["points"]), fill=colour, stroke=colour, radius=3))
        body.append(dot(LEFT + 6 + 220 * place, 61, fill=colour, stroke=colour))
        rule = Rule.from_json(report["rules"][reader])
        limit = "never" if rule.never else f"from {rule.min_blur:.1f} px"
        body.append(text(LEFT + 16 + 220 * place, 65.5, f"{READER_NAMES.get(reader, reader)}: {limit}", size=12))
    return document(LEFT + WIDTH + 24, TOP + HEIGHT + 52, body, title="Gain of super-resolution by blur")


def _frame(report: dict[str, Any], x: Scale, y: Scale, low: float, high: float, reach: float) -> Iterator[str]:
    yield text(12, 24, f"{report['model']}: words gained by super-resolution, by blur", size=16, bold=True)
    about = (
        f"points over the plain crop, each with its rule's treatment; {report['data']['crops']} crops, all scripts"
    )
    yield text(12, 43, about, size=12, fill=SOFT)
    for points in (-reach, -reach / 2, 0, reach / 2, reach):
        yield line(LEFT, y(points), LEFT + WIDTH, y(points), stroke=SOFT if points == 0 else RULE)
        yield text(LEFT - 8, y(points) + 4, f"{points:+g}" if points else "0", size=11, fill=SOFT, anchor="end")
    for tick in (0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8):
        if low <= tick <= high:
            yield text(x(tick), TOP + HEIGHT + 18, f"{tick:g}", size=11, fill=SOFT, anchor="middle")
    yield text(LEFT + WIDTH / 2, TOP + HEIGHT + 40, "measured blur, px of the crop", size=12, anchor="middle")
