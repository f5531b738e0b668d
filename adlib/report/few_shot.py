"""Methods with shots, in the layout of AF-CLIP's Table 2: one row per method and number of shots."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adlib.config.variants import split_variant, variant_name
from adlib.evaluation.metrics.intervals import mean_interval
from adlib.report.results import METRIC_NAMES, Results
from adlib.report.verdict import signed

SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "aupro_0.3")


@dataclass(frozen=True)
class Cell:
    """Mean and spread over the seeds, and the paired difference to no shots with its interval."""

    mean: str
    spread: str
    difference: str


@dataclass(frozen=True)
class FewShotRow:
    """A method with some shots; one cell per metric."""

    shots: int
    method: str
    cells: list[Cell]


@dataclass(frozen=True)
class FewShotTable:
    """A category at a noise level; rows by number of shots."""

    category: str
    noise: float
    metrics: list[str]
    rows: list[FewShotRow]


def few_shot_tables(results: Results) -> list[FewShotTable]:
    """One table per category and noise level, those of the mean over categories first; none without shots."""
    if not results.few_shot:
        return []
    parts = [results.over_categories()] if len(results.categories) > 1 else []
    return [
        _table(part, c, level)
        for part in (*parts, results)
        for c in range(len(part.categories))
        for level in sorted(part.levels)
    ]


def _table(results: Results, c: int, level: float) -> FewShotTable:
    at = results.values[c, :, results.levels.index(level)]  # (M, S, K)
    seen = [results.metrics.index(metric) for metric in SHOWN if metric in results.metrics]
    kept = [k for k in seen if not np.isnan(at[..., k]).all()]
    names = [METRIC_NAMES[results.metrics[k]] for k in kept]
    rows = list(_rows(results.methods, at[..., kept]))
    return FewShotTable(results.categories[c], level, names, sorted(rows, key=lambda row: row.shots))


def _rows(methods: tuple[str, ...], values: np.ndarray) -> Iterator[FewShotRow]:
    """The rows of the methods that have shots at all; `values` is `(M, S, K)`."""
    variants = [split_variant(name) for name in methods]
    with_shots = {method for method, shots in variants if shots}
    for (method, shots), own in zip(variants, values, strict=True):
        if method in with_shots:
            zero = variant_name(method, 0)
            base = values[methods.index(zero)] if shots and zero in methods else None
            pairs = [None] * own.shape[1] if base is None else list((own - base).T)
            yield FewShotRow(shots, method, [_cell(v, d) for v, d in zip(own.T, pairs, strict=True)])


def _cell(values: np.ndarray, differences: np.ndarray | None) -> Cell:
    """A cell of the values `(S,)` of all seeds, and of what they gain on those without shots."""
    several = len(values) > 1
    spread = f"{values.std(ddof=1):.3f}" if several else ""
    difference = ""
    if differences is not None:
        low, high = (signed(end) for end in mean_interval(differences)) if several else ("", "")
        difference = signed(float(differences.mean())) + (f" [{low}, {high}]" if several else "")
    return Cell(f"{values.mean():.3f}", spread, difference)
