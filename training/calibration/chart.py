"""The curve of `python -m training calibrate`: words gained by super-resolution, by blur and recogniser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_store.calibration import Rule
from training.calibration.readers import READER_NAMES
from training.chart import GAIN, LOSS, RULE, SOFT, subplots

COLOURS = (GAIN, LOSS, "#4338ca", "#a16207")
TICKS = (0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8)  # pixels


def write_curve(report: dict[str, Any], path: Path) -> None:
    """SVG. x: measured blur, each mark an eighth of the crops. y: points over the plain crop, 95 % intervals."""
    from matplotlib.ticker import NullLocator

    figure, axes = subplots(1, 1, size=(7.8, 4.4))
    own = axes[0][0]
    blurs = [part["blur"][1] for part in report["curve"]]
    for place, (reader, colour) in enumerate(zip(report["recognisers"], COLOURS, strict=False)):
        gains = [part["gains"][reader] for part in report["curve"]]
        rule = Rule.from_json(report["rules"][reader])
        label = f"{READER_NAMES.get(reader, reader)}: {'never' if rule.never else f'from {rule.min_blur:.1f} px'}"
        own.errorbar(
            [blur * (1 + 0.006 * (place - 1)) for blur in blurs],  # apart, so that no interval hides another
            [gain["points"] for gain in gains],
            yerr=[1.96 * gain["error"] for gain in gains],
            color=colour, marker="o", markersize=4, linewidth=1.8, elinewidth=1, label=label,
        )  # fmt: skip
    own.axhline(0, color=SOFT, linewidth=1)
    own.grid(axis="y", color=RULE, linewidth=0.6)
    own.set_axisbelow(True)
    own.set_xscale("log")
    shown = [tick for tick in TICKS if 0.95 * blurs[0] <= tick <= 1.05 * blurs[-1]]
    own.set_xticks(shown, [f"{tick:g}" for tick in shown])
    own.xaxis.set_minor_locator(NullLocator())
    own.set_xlabel("measured blur, px of the crop")
    own.set_ylabel("points over the plain crop")
    own.set_title(
        f"{report['model']}: words of 100 gained by super-resolution, each recogniser by its rule\n"
        f"{report['data']['crops']} crops of all scripts, 95 % intervals",
        loc="left", fontsize=11,
    )  # fmt: skip
    own.legend(frameon=False, loc="upper left")
    figure.savefig(path, metadata={"Date": None})
