"""The few marks of SVG that the charts of calibration and benchmarks need, without a plotting library."""

from __future__ import annotations

from html import escape

INK, SOFT, RULE, GROUND = "#1f2933", "#5f6b76", "#d5dbe1", "#ffffff"
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


def document(width: float, height: float, body: list[str], *, title: str) -> str:
    """An SVG document with a light ground, so that the chart is readable on a dark page too."""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {height:g}' width='{width:g}' "
        f"height='{height:g}' role='img' {FONT}><title>{escape(title)}</title>"
        f"<rect width='100%' height='100%' fill='{GROUND}'/>{''.join(body)}</svg>\n"
    )


def text(
    x: float, y: float, words: str, *, size: float = 13, fill: str = INK, anchor: str = "start", bold: bool = False
) -> str:
    weight = " font-weight='600'" if bold else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size:g}' fill='{fill}' text-anchor='{anchor}'{weight}>"
        f"{escape(words)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float, *, stroke: str = RULE, width: float = 1) -> str:
    ends = f"x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'"
    return f"<line {ends} stroke='{stroke}' stroke-width='{width:g}'/>"


def box(x: float, y: float, width: float, height: float, *, fill: str) -> str:
    return f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' fill='{fill}'/>"


def dot(x: float, y: float, *, fill: str, stroke: str, radius: float = 4) -> str:
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius:g}' fill='{fill}' stroke='{stroke}' stroke-width='1.6'/>"
