"""Tables and charts of the metrics, ready for the template."""

from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup

from adlib.report import chart as svg
from adlib.report.results import LEADING, LOWER_IS_BETTER, METRIC_NAMES, Results
from adlib.report.verdict import signed

CHARTED = (LEADING, "pixel_auroc", "aupro_0.3")
SMALLEST_RANGE = 0.02  # of a vertical axis


@dataclass(frozen=True)
class Number:
    """A cell of the comparison: mean and spread as text, and whether no method has a better mean."""

    mean: str
    spread: str
    best: bool


@dataclass(frozen=True)
class Table:
    """The comparison on one category; `rows[level][method]` is a list of cells, one per metric."""

    name: str
    metrics: list[str]
    rows: dict[float, dict[str, list[Number]]]
    change: dict[float, dict[str, str]]


def tables(results: Results) -> list[Table]:
    """The mean over the categories, if there are several, then each of them."""
    C = len(results.categories)
    found = [table(results.over_categories(), 0)] if C > 1 else []
    return found + [table(results, c) for c in range(C)]


def table(results: Results, c: int) -> Table:
    """The comparison on category number `c`: levels ascending, methods in the order of params.yaml."""
    mean, spread = results.mean[c], None if results.spread is None else results.spread[c]
    kept = [k for k in range(len(results.metrics)) if not np.isnan(mean[..., k]).all()]
    order = sorted(range(len(results.levels)), key=lambda n: results.levels[n])
    best = [np.nanmin if metric in LOWER_IS_BETTER else np.nanmax for metric in results.metrics]
    rows, change = {}, {}
    for n in order:
        texts = np.char.mod("%.3f", mean[:, n])
        rows[results.levels[n]] = {
            method: [
                Number(
                    "–" if np.isnan(mean[m, n, k]) else str(texts[m, k]),
                    "" if spread is None or np.isnan(spread[m, n, k]) else f"{spread[m, n, k]:.3f}",
                    len(results.methods) > 1 and texts[m, k] == f"{best[k](mean[:, n, k]):.3f}",
                )
                for k in kept
            ]
            for m, method in enumerate(results.methods)
        }
        fall = mean[:, n] - mean[:, order[0]]
        k = results.metrics.index(results.leading)
        change[results.levels[n]] = {
            method: "" if n == order[0] else signed(fall[m, k]) for m, method in enumerate(results.methods)
        }
    names = [METRIC_NAMES.get(results.metrics[k], results.metrics[k]) for k in kept]
    return Table(results.categories[c], names, rows, change)


def charts(results: Results) -> dict[str, list[tuple[str, Markup]]]:
    """Every charted metric over noise: by its name, categories and their charts, all with one y axis."""
    measured = [metric for metric in CHARTED if metric in results.metrics]
    return {METRIC_NAMES[metric]: _charts(results, results.metrics.index(metric)) for metric in measured}


def _charts(results: Results, k: int) -> list[tuple[str, Markup]]:
    metric = METRIC_NAMES[results.metrics[k]]
    present = sum(not np.isnan(results.values[c, ..., k]).all() for c in range(len(results.categories)))
    parts = [replace(results.over_categories(), categories=(f"Mean over {present} categories",)), results]
    parts = parts if present > 1 else [results]
    ticks = svg.nice_ticks(*_range(parts, k))
    drawn = []
    for part in parts:
        mean, spread = part.mean[..., k], None if part.spread is None else part.spread[..., k]
        for c, category in enumerate(part.categories):
            if np.isnan(mean[c]).all():
                continue
            lines = [
                svg.Series(method, m, mean[c, m].tolist(), None if spread is None else spread[c, m].tolist())
                for m, method in enumerate(results.methods)
            ]
            name, title = f"chart-{k}-{len(drawn)}", f"{category}: {metric} over training noise"
            drawn.append((category, svg.line_chart(name, title, results.levels, lines, ticks)))
    return drawn


def _range(parts: list[Results], k: int) -> tuple[float, float]:
    """The lowest and the highest end of a band; no metric exceeds 1, and rounding errors are no curve."""
    low, high = 1.0, 0.0
    for part in parts:
        spread = np.zeros_like(part.mean) if part.spread is None else part.spread
        low = min(low, float(np.nanmin((part.mean - spread)[..., k])))
        high = max(high, float(np.nanmax((part.mean + spread)[..., k])))
    high = min(high, 1.0)
    return min(low, high - SMALLEST_RANGE), high
