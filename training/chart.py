"""The look of the project's charts: matplotlib on a light ground, with text as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, RULE = "#1f2933", "#5f6b76", "#d5dbe1"
GAIN, LOSS = "#0f766e", "#c2410c"
LOOK: Any = {  # matplotlib lists the names in a type that differs by version
    "svg.fonttype": "none",  # a reader can search the text, and the file is small
    "svg.hashsalt": "text-telescope",  # equal figures give equal files
    "font.family": "sans-serif",
    "font.sans-serif": ["Segoe UI", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": RULE,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
}


def subplots(rows: int, columns: int, *, size: tuple[float, float]) -> tuple[Figure, Any]:
    """As matplotlib's `subplots(squeeze=False)`, in the project's look. size: width and height in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(LOOK)
    figure = Figure(figsize=size)
    return figure, figure.subplots(rows, columns, squeeze=False)


def grid(
    axes: Axes, values: list[list[float]], *, rows: list[str], columns: list[str], full: float, better: float = 1
) -> None:
    """A table of coloured cells with signed numbers. full: value of the darkest colour. better: sign of a gain."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("gain", [LOSS, "#f1f4f6", GAIN])
    axes.imshow([[better * v for v in row] for row in values], cmap=colours, vmin=-full, vmax=full, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            shade = "white" if abs(value) > 0.6 * full else INK
            axes.text(x, y, f"{value:+.1f}" if round(value, 1) else "0", ha="center", va="center", color=shade)
