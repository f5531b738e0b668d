"""The report's charts as inline SVG: shapes are drawn here, colours are the style sheet's (`m0`, `m1`, …)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 320, 250
LEFT, RIGHT, TOP, BOTTOM = 44, WIDTH - 12, 12, HEIGHT - 36  # of what the axes enclose
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


@dataclass(frozen=True)
class Axes:
    """Where numbers lie in a chart.

    Attributes:
        x: the numbers at the left and at the right end.
        y: the numbers at the bottom and at the top; what lies beyond is drawn there.
        right: the right end in pixels.
        margin: pixels that stay free at both ends of the x axis.
    """

    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)
    right: float = RIGHT
    margin: float = 0.0

    def across(self, value: float) -> float:
        """Pixels from the left; the middle where the axis has a single number."""
        low, high = self.x
        share = (value - low) / (high - low) if high > low else 0.5
        return LEFT + self.margin + share * (self.right - LEFT - 2 * self.margin)

    def down(self, value: float) -> float:
        """Pixels from the top."""
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return BOTTOM - min(max(share, 0), 1) * (BOTTOM - TOP)

    def path(self, points: Iterable[Sequence[float]]) -> str:
        """Points `(x, y)` as an SVG list of points."""
        return " ".join(f"{self.across(x):.1f},{self.down(y):.1f}" for x, y in points)

    def grid(self, heights: Iterable[float]) -> list[str]:
        """Lines across the chart."""
        return [segment((LEFT, self.down(y)), (self.right, self.down(y)), "grid") for y in heights]

    def labels(self, x: Mapping[float, str], y: Mapping[float, str]) -> list[str]:
        """Labels of both axes; one that would run into its left neighbour is left out."""
        shown = [text(LEFT - 6, self.down(value) + 4, label, "tick", "end") for value, label in y.items()]
        edge = -math.inf
        for value, label in sorted(x.items()):
            half = CHARACTER * len(label) / 2
            if self.across(value) - half > edge:
                shown.append(text(self.across(value), BOTTOM + 16, label, "tick", "middle"))
                edge = self.across(value) + half + 4
        return shown


def picture(name: str, title: str, words: str, *parts: str) -> Markup:
    """A chart of its parts.

    Args:
        name: unique on the page (letters, digits, hyphens); the title's and description's ids start with it.
        title: what is drawn.
        words: the chart in words.
    """
    told = tag("title", escape(title), id=f"{name}-title"), tag("desc", escape(words), id=f"{name}-desc")
    return Markup(
        tag(
            "svg", *told, *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", class_="chart",
            aria_labelledby=f"{name}-title {name}-desc",
        )
    )  # fmt: skip


def line_chart(
    name: str, title: str, x: Sequence[float], series: Sequence[Series], ticks: Sequence[float]
) -> Markup:
    """A chart of lines over noise levels.

    Args:
        name, title: as of `picture`.
        x: `(L,)` noise levels, fractions.
        series: the lines.
        ticks: of the y axis, ascending; the axis runs from the first to the last.
    """
    names = CHARACTER * max(len(line.name) for line in series)
    # Markers and level labels stay clear of the axis and of the names.
    axes = Axes((min(x), max(x)), (ticks[0], ticks[-1]), RIGHT - names, margin=8)
    digits = max(len(f"{tick:.6g}".partition(".")[2]) for tick in ticks)
    scale = {tick: f"{tick:.{digits}f}" for tick in ticks}
    parts = [*axes.grid(ticks), *axes.labels({level: percent(level) for level in x}, scale)]
    points = [(line, _points(line, x)) for line in series]
    shown = [(line, found) for line, found in points if found]
    for line, found in shown:
        if line.spread is not None:
            band = [(a, y + s) for a, y, s in found] + [(a, y - s) for a, y, s in reversed(found)]
            parts.append(tag("polygon", points=axes.path(band), class_=f"band m{line.style % STYLES}"))
    for line, found in shown:
        parts.append(curve(axes, [(a, y) for a, y, _ in found], line.style))
        parts += [marker(line.style, axes.across(a), axes.down(y)) for a, y, _ in found]
    ends = spaced([axes.down(found[-1][1]) for _, found in shown], LINE, TOP, BOTTOM)
    for (line, found), y in zip(shown, ends, strict=True):
        parts.append(text(axes.across(found[-1][0]) + 9, y + 4, line.name, f"name m{line.style % STYLES}"))
    return picture(name, title, "; ".join(_words(*told) for told in points) + ".", *parts)


def _points(line: Series, x: Sequence[float]) -> list[tuple[float, float, float]]:
    """`(level, value, half width)` by ascending level."""
    spread = line.spread if line.spread is not None else [0.0] * len(x)
    return sorted(p for p in zip(x, line.y, spread, strict=True) if not math.isnan(p[1]))


def _words(line: Series, points: Sequence[tuple[float, float, float]]) -> str:
    spreads = [f" ± {s:.3f}" if line.spread is not None else "" for _, _, s in points]
    values = [f"{y:.3f}{s} at {percent(a)}" for (a, y, _), s in zip(points, spreads, strict=True)]
    return f"{line.name}: {', '.join(values) or 'no values'}"


def curve(axes: Axes, points: Iterable[Sequence[float]], style: int) -> str:
    """A method's line through points `(x, y)`."""
    return tag("polyline", points=axes.path(points), class_=f"line m{style % STYLES}")


def text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    """A line of text at a point."""
    return tag("text", escape(words), x=f"{x:.1f}", y=f"{y:.1f}", class_=style, text_anchor=anchor)


def segment(a: tuple[float, float], b: tuple[float, float], style: str) -> str:
    """A straight line from a to b."""
    ends = zip(("x1", "y1", "x2", "y2"), (*a, *b), strict=True)
    return tag("line", **{name: f"{value:.1f}" for name, value in ends}, class_=style)


def percent(level: float) -> str:
    """A fraction as text: `10 %`."""
    return f"{100 * level:.4g} %"
