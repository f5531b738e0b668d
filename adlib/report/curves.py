"""ROC curves, precision over recall and score histograms of one fit a method, as inline SVG."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from adlib.report import chart as svg
from adlib.report.per_image import FitImages

KINDS = ("normal", "anomalous")
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


def _curves(name: str, title: str, curves: Mapping[str, np.ndarray], x: str, y: str) -> Markup:
    axes, shares = svg.Axes(), {share: f"{share:g}" for share in (0.0, 0.25, 0.5, 0.75, 1.0)}
    parts = [*axes.grid(shares), *axes.labels(shares, shares), *_axis_names(x, y)]
    for m, points in enumerate(curves.values()):
        parts.append(svg.curve(axes, points, m))
        # A marker half-way tells the methods apart without their colours.
        a, b = points[len(points) // 2]
        parts.append(svg.marker(m, axes.across(a), axes.down(b)))
    words = f"{x} across, {y} upwards; methods: {', '.join(curves)}."
    return svg.picture(name, title, words, *parts)


def _histogram(name: str, title: str, fit: FitImages, style: int, threshold: float | None) -> Markup:
    """Shares of the normal images (upwards) and of the anomalous ones (downwards) over the score."""
    groups = {kind: fit.test_scores[fit.test_labels == (kind == "anomalous")] for kind in KINDS}
    low, high = float(fit.test_scores.min()), float(fit.test_scores.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts = {kind: np.histogram(scores, edges)[0] for kind, scores in groups.items()}
    shares = {kind: count / max(1, count.sum()) for kind, count in counts.items()}
    tallest = max(float(share.max()) for share in shares.values())
    axes = svg.Axes((edges[0], edges[-1]), (-tallest, tallest))
    ticks = {score: f"{score:.3g}" for score in (edges[0], edges[BINS // 2], edges[-1])}
    parts = []
    for kind, share in shares.items():
        for i in np.flatnonzero(share):
            top, bottom = (0, -share[i]) if kind == "anomalous" else (share[i], 0)
            box = {"x": axes.across(edges[i]), "y": axes.down(top)}
            box |= {"width": (svg.RIGHT - svg.LEFT) / BINS - 0.6, "height": axes.down(bottom) - box["y"]}
            sides = {side: f"{value:.1f}" for side, value in box.items()}
            parts.append(svg.tag("rect", **sides, class_=f"{kind} m{style % svg.STYLES}"))
    parts += axes.grid([0])
    parts += axes.labels(ticks, {tallest / 2: "normal", -tallest / 2: "anom."})
    if threshold is not None and low <= threshold <= high:
        x = axes.across(threshold)
        parts.append(svg.segment((x, svg.TOP), (x, svg.BOTTOM), "threshold"))
    normal, anomalous = (f"{np.median(scores):.3g}" for scores in groups.values())
    words = f"Median score {normal} of the normal images, {anomalous} of the anomalous ones."
    return svg.picture(name, title, words, *parts, *_axis_names("image score"))


def _axis_names(x: str, y: str = "") -> list[str]:
    below = svg.text(svg.LEFT + (svg.RIGHT - svg.LEFT) / 2, svg.HEIGHT - 5, x, "tick", "middle")
    return [below, svg.text(svg.LEFT + 4, svg.TOP + 10, y, "tick")] if y else [below]
