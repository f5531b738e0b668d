"""Line charts as inline SVG: shapes are drawn here, colours are the style sheet's (classes `m0`, `m1`, …)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 340, 216
LEFT, TOP, BOTTOM = 40, 12, 30
CHARACTER = 6.3  # px, about the width of one at the charts' 11.5 px
LINE = 13.0  # px between labels

# In a circle of radius 1. Method i has colour i and marker i, so neither is needed to tell two methods apart.
MARKERS = (
    "M1 0A1 1 0 1 1 -1 0A1 1 0 1 1 1 0Z",
    "M-.9 -.9H.9V.9H-.9Z",
    "M0 -1.15L1.1 .85H-1.1Z",
    "M0 -1.3L1.1 0L0 1.3L-1.1 0Z",
    "M0 1.15L1.1 -.85H-1.1Z",
    "M-.4 -1.2H.4V-.4H1.2V.4H.4V1.2H-.4V.4H-1.2V-.4H-.4Z",
    "M-1.1 -.55L-.55 -1.1L0 -.55L.55 -1.1L1.1 -.55L.55 0L1.1 .55L.55 1.1L0 .55L-.55 1.1L-1.1 .55L-.55 0Z",
    "M-1.2 0L-.6 -1.1H.6L1.2 0L.6 1.1H-.6Z",
    "M0 -1.3L.35 -.45L1.25 -.4L.55 .17L.77 1.05L0 .56L-.77 1.05L-.55 .17L-1.25 -.4L-.35 -.45Z",
)
STYLES = len(MARKERS)

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        name: label at its right end.
        style: number of its colour class and marker.
        y: `(L,)` values; NaN is left out.
        spread: `(L,)` half width of the band around it, or None.
    """

    name: str
    style: int
    y: Sequence[float]
    spread: Sequence[float] | None = None


def tag(name: str, *children: str, **attributes: object) -> str:
    """An element; `class_` becomes `class`, other underscores become hyphens."""
    words = (f' {key.rstrip("_").replace("_", "-")}="{escape(str(v))}"' for key, v in attributes.items())
    return f"<{name}{''.join(words)}>{''.join(children)}</{name}>"


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` steps of a round size that enclose [low, high].

    Raises:
        ValueError: low is not below high.
    """
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}; widen an empty range first")
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return [round(i * step, 10) for i in range(first, last + 1)]


def spaced(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart by at least `gap`, in their order, within [low, high] where they fit."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    moved = [0.0] * len(positions)
    floor = low
    for i in order:
        moved[i] = max(positions[i], floor)
        floor = moved[i] + gap
    ceiling = high
    for i in reversed(order):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    return moved


def marker(style: int, x: float = 0, y: float = 0, radius: float = 3.6) -> str:
    """The marker of a method."""
    place = f"translate({x:.1f} {y:.1f}) scale({radius})"
    return tag("path", d=MARKERS[style % STYLES], transform=place, class_=f"dot m{style % STYLES}")


def key(style: int) -> str:
    """A method's marker as a picture in a line of text; decoration, as the name stands beside it."""
    return tag("svg", marker(style, 6, 6, 4), viewBox="0 0 12 12", class_="key", aria_hidden="true")


def line_chart(
    name: str, title: str, x: Sequence[float], series: Sequence[Series], ticks: Sequence[float]
) -> str:
    """A chart of lines over noise levels.

    Args:
        name: unique on the page (letters, digits, hyphens); the title's and description's ids start with it.
        title: what is drawn.
        x: `(L,)` noise levels, fractions.
        series: the lines.
        ticks: of the y axis, ascending; the axis runs from the first to the last.
    """
    right = WIDTH - 12 - CHARACTER * max(len(line.name) for line in series)
    low, high = min(x), max(x)
    # Markers and level labels stay clear of the axis and of the names.
    inner = (LEFT + 10, right - 6)

    def across(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return inner[0] + share * (inner[1] - inner[0])

    def down(value: float) -> float:
        share = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return HEIGHT - BOTTOM - min(max(share, 0), 1) * (HEIGHT - BOTTOM - TOP)

    parts = [tag("title", escape(title), id=f"{name}-title")]
    parts.append(tag("desc", _words(x, series), id=f"{name}-desc"))
    digits = max(len(f"{tick:.6g}".partition(".")[2]) for tick in ticks)
    parts += [_grid_line(f"{tick:.{digits}f}", down(tick), right) for tick in ticks]
    parts += _level_labels(x, across)
    shown = [(line, _points(line, x)) for line in series]
    shown = [(line, points) for line, points in shown if points]
    parts += [_band(line, points, across, down) for line, points in shown if line.spread is not None]
    for line, points in shown:
        path = " ".join(f"{across(a):.1f},{down(y):.1f}" for a, y, _ in points)
        parts.append(tag("polyline", points=path, class_=f"line m{line.style % STYLES}"))
        parts += [marker(line.style, across(a), down(y)) for a, y, _ in points]
    ends = spaced([down(points[-1][1]) for _, points in shown], LINE, TOP, HEIGHT - BOTTOM)
    for (line, points), y in zip(shown, ends, strict=True):
        x_label = across(points[-1][0]) + 9
        parts.append(text(x_label, y + 4, line.name, f"name m{line.style % STYLES}"))
    return tag(
        "svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", class_="chart",
        aria_labelledby=f"{name}-title {name}-desc",
    )  # fmt: skip


def _points(line: Series, x: Sequence[float]) -> list[tuple[float, float, float]]:
    """`(level, value, half width)` by ascending level."""
    spread = line.spread if line.spread is not None else [0.0] * len(x)
    return sorted(p for p in zip(x, line.y, spread, strict=True) if not math.isnan(p[1]))


def _band(line: Series, points: Sequence[tuple[float, float, float]], across: Scale, down: Scale) -> str:
    upper = [(across(a), down(y + s)) for a, y, s in points]
    lower = [(across(a), down(y - s)) for a, y, s in reversed(points)]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in upper + lower)
    return tag("polygon", points=path, class_=f"band m{line.style % STYLES}")


def _grid_line(label: str, y: float, right: float) -> str:
    return segment((LEFT, y), (right, y), "grid") + text(LEFT - 6, y + 4, label, "tick", "end")


def _level_labels(x: Sequence[float], across: Scale) -> list[str]:
    """Labels of the levels; one that would run into its left neighbour is left out."""
    labels, edge = [], -math.inf
    for level in sorted(x):
        label = percent(level)
        half = CHARACTER * len(label) / 2
        if across(level) - half > edge:
            labels.append(text(across(level), HEIGHT - BOTTOM + 17, label, "tick", "middle"))
            edge = across(level) + half + 4
    return labels


def text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    """A line of text at a point."""
    return tag("text", escape(words), x=f"{x:.1f}", y=f"{y:.1f}", class_=style, text_anchor=anchor)


def segment(a: tuple[float, float], b: tuple[float, float], style: str) -> str:
    """A straight line from a to b."""
    ends = zip(("x1", "y1", "x2", "y2"), (*a, *b), strict=True)
    return tag("line", **{name: f"{value:.1f}" for name, value in ends}, class_=style)


def _words(x: Sequence[float], series: Sequence[Series]) -> str:
    """The chart in words."""
    lines = []
    for line in series:
        points = _points(line, x)
        values = ", ".join(
            f"{y:.3f}{f' ± {s:.3f}' if line.spread is not None else ''} at {percent(a)}" for a, y, s in points
        )
        lines.append(f"{line.name}: {values or 'no values'}")
    return escape("; ".join(lines) + ".")


def percent(level: float) -> str:
    """A fraction as text: `10 %`."""
    return f"{100 * level:.4g} %"
