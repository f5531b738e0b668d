"""ROC curves, precision over recall and score histograms of one fit a method, as inline SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from markupsafe import Markup

from adlib.report import chart as svg
from adlib.report.per_image import FitImages

WIDTH, HEIGHT = 300, 268
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 12, 40
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
BINS = 40


@dataclass(frozen=True)
class Drawn:
    """The charts of one category: `roc` and `precision` hold every method, `histograms` one each."""

    category: str
    roc: Markup
    precision: Markup
    histograms: dict[str, Markup]


def draw(category: str, number: int, fits: Mapping[str, FitImages], thresholds: Mapping[str, float]) -> Drawn:
    """The charts of a category.

    Args:
        category: its name.
        number: tells its charts from those of other categories (ids on the page).
        fits: the test images of one fit a method, in the report's order of methods.
        thresholds: the deployed threshold of the methods that have one.
    """
    roc = {method: roc_curve(fit.test_scores, fit.test_labels) for method, fit in fits.items()}
    precision = {method: precision_curve(fit.test_scores, fit.test_labels) for method, fit in fits.items()}
    return Drawn(
        category,
        _curves(f"roc-{number}", f"{category}: ROC curves", roc, "false alarms", "found"),
        _curves(f"pr-{number}", f"{category}: precision over recall", precision, "recall", "precision"),
        {
            method: _histogram(
                f"hist-{number}-{m}", f"{category}, {method}: scores", fit, m, thresholds.get(method)
            )
            for m, (method, fit) in enumerate(fits.items())
        },
    )


def roc_curve(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """False-alarm rate and hit rate at every threshold: `(K, 2)` from (0, 0) to (1, 1), ties in one step."""
    hits, alarms = _counts(scores, labels)
    points = np.stack([alarms / alarms[-1], hits / hits[-1]], axis=1)
    return _corners(np.concatenate([[[0.0, 0.0]], points]))


def precision_curve(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Recall and precision at every threshold, as steps: `(K, 2)`; the area under it is the AP."""
    hits, alarms = _counts(scores, labels)
    recall, precision = hits / hits[-1], hits / (hits + alarms)
    # Precision holds over the whole step of recall that leads to its threshold.
    start = np.concatenate([[0.0], recall[:-1]])
    steps = np.stack([np.stack([start, precision], 1), np.stack([recall, precision], 1)], axis=1)
    return _corners(steps.reshape(-1, 2))


def _counts(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Anomalous and normal images at or above every distinct score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    hits, alarms = np.cumsum(labels[order]), np.cumsum(~labels[order])
    last = np.append(np.diff(scores[order]) != 0, True)
    return hits[last], alarms[last]


def _corners(points: np.ndarray) -> np.ndarray:
    """Leave out repeated points, then those on the straight line between their neighbours."""
    points = points[np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))]
    before, after = np.diff(points[:-1], axis=0), np.diff(points[1:], axis=0)
    turn = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-12
    return points[np.concatenate([[True], turn, [True]])]


def _across(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _down(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _curves(name: str, title: str, curves: Mapping[str, np.ndarray], x: str, y: str) -> Markup:
    parts = []
    for share in SHARES:
        parts.append(svg.segment((_across(0), _down(share)), (_across(1), _down(share)), "grid"))
        parts.append(svg.text(LEFT - 6, _down(share) + 4, f"{share:g}", "tick", "end"))
        parts.append(svg.text(_across(share), HEIGHT - BOTTOM + 16, f"{share:g}", "tick", "middle"))
    for m, points in enumerate(curves.values()):
        line = " ".join(f"{_across(a):.1f},{_down(b):.1f}" for a, b in points)
        parts.append(svg.tag("polyline", points=line, class_=f"line m{m % svg.STYLES}"))
        # A marker half-way tells the methods apart without their colours.
        a, b = points[len(points) // 2]
        parts.append(svg.marker(m, _across(a), _down(b)))
    words = f"{x} across, {y} upwards; methods: {', '.join(curves)}."
    return _picture(name, title, words, parts, x, y)


def _histogram(name: str, title: str, fit: FitImages, style: int, threshold: float | None) -> Markup:
    """Shares of the normal images (upwards) and of the anomalous ones (downwards) over the score."""
    low, high = float(fit.test_scores.min()), float(fit.test_scores.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    shares = [np.histogram(fit.test_scores[fit.test_labels == kind], edges)[0] for kind in (False, True)]
    shares = [counts / max(1, counts.sum()) for counts in shares]
    tallest = max(float(share.max()) for share in shares)
    middle, half = _down(0.5), (HEIGHT - TOP - BOTTOM) / 2
    wide = (_across(1) - _across(0)) / BINS
    parts = []
    for share, upwards, kind in zip(shares, (True, False), ("normal", "anomalous"), strict=True):
        for i in np.flatnonzero(share):
            tall = half * share[i] / tallest
            x, y = _across(0) + i * wide, middle - tall if upwards else middle
            box = {"x": x, "y": y, "width": wide - 0.6, "height": tall}
            sides = {side: f"{value:.1f}" for side, value in box.items()}
            parts.append(svg.tag("rect", **sides, class_=f"{kind} m{style % svg.STYLES}"))
    parts.append(svg.segment((_across(0), middle), (_across(1), middle), "grid"))
    for share in (0.0, 0.5, 1.0):
        label = f"{edges[0] + share * (edges[-1] - edges[0]):.3g}"
        parts.append(svg.text(_across(share), HEIGHT - BOTTOM + 16, label, "tick", "middle"))
    parts.append(svg.text(LEFT - 6, _down(0.75) + 4, "normal", "tick", "end"))
    parts.append(svg.text(LEFT - 6, _down(0.25) + 4, "anom.", "tick", "end"))
    if threshold is not None and low <= threshold <= high:
        x = _across((threshold - low) / (edges[-1] - low))
        parts.append(svg.segment((x, TOP), (x, HEIGHT - BOTTOM), "threshold"))
    medians = [float(np.median(fit.test_scores[fit.test_labels == kind])) for kind in (False, True)]
    words = f"Median score {medians[0]:.3g} of the normal images, {medians[1]:.3g} of the anomalous ones."
    return _picture(name, title, words, parts, "image score", "")


def _picture(name: str, title: str, words: str, parts: Sequence[str], x: str, y: str) -> Markup:
    labels = [svg.text(_across(0.5), HEIGHT - 6, x, "tick", "middle")]
    if y:
        labels.append(svg.text(LEFT + 4, TOP + 10, y, "tick"))
    head = [
        svg.tag("title", escape(title), id=f"{name}-title"),
        svg.tag("desc", escape(words), id=f"{name}-desc"),
    ]
    return Markup(
        svg.tag(
            "svg", *head, *parts, *labels, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", class_="chart",
            aria_labelledby=f"{name}-title {name}-desc",
        )
    )  # fmt: skip
