"""Is a change more than chance? Every cell of two results side by side, with its tolerance and its verdict.

A loss is tolerated up to the largest of three: `absolute`, `relative` times the reference, and what chance
alone does to the difference of two means. The last comes from the seeds: with s their standard deviation,

    t_(1 - (1 - confidence) / cells, df) * s * sqrt(1 / n_reference + 1 / n_current),

or, where both sides have the same seeds, s that of the differences seed by seed and the root sqrt(1 / n).
Few seeds make s itself a matter of luck, so it is never taken below the value pooled over the categories and
noise levels of the same method and metric, which also gives the degrees of freedom. The division by the
number of cells (Bonferroni) makes `confidence` hold for the gate as a whole. With a single seed on each side,
the error over the test images stands in for it (`adlib.gate.pairs`), where a change exceeds the first two.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from adlib.gate.rules import Cell, Limits, Rules

Values = Mapping[Cell, Mapping[int, float]]
Error = Callable[[Cell, int, int], float | None]

Status = Literal["regressed", "missing", "beyond limit", "better", "same", "new", "not judged"]
FAILURES: tuple[Status, ...] = ("regressed", "missing", "beyond limit")
ORDER: tuple[Status, ...] = (*FAILURES, "better", "same", "new", "not judged")
ROUNDING = 1e-9  # results.csv has six decimals


@dataclass(frozen=True)
class Judgement:
    """One line of the comparison.

    Attributes:
        cell: what is compared.
        limits: the rules that apply.
        reference: mean over seeds; None for a new cell.
        current: mean over seeds; None for a missing one.
        spreads: standard deviation over seeds (n - 1) of both; None for a single seed.
        tolerance: the loss that passes; None where there is nothing to compare.
        basis: where it comes from: `rule`, `seeds` or `images`.
        status: the verdict.
    """

    cell: Cell
    limits: Limits
    reference: float | None
    current: float | None
    spreads: tuple[float | None, float | None] = (None, None)
    tolerance: float | None = None
    basis: str = ""
    status: Status = "not judged"

    @property
    def delta(self) -> float | None:
        """Current minus reference."""
        return None if self.reference is None or self.current is None else self.current - self.reference

    @property
    def gain(self) -> float:
        """The change for the better; negative for a loss, 0 where there is nothing to compare."""
        return self.limits.sign * (self.delta or 0.0)

    @property
    def failed(self) -> bool:
        """Whether the gate stays shut."""
        return self.status in FAILURES


def judge(reference: Values, current: Values, rules: Rules, error: Error) -> list[Judgement]:
    """Compare two results; failures first, and before others the loss that exceeds its tolerance most.

    Args:
        reference: cell -> seed -> value.
        current: the same of the other side.
        rules: directions, tolerances and limits.
        error: standard error of a cell's difference over test images, of two seeds; None if not known. It is
            asked only where the verdict hangs on it.
    """
    cells = list(dict.fromkeys((*reference, *current)))
    limits = {cell: rules.limits(cell) for cell in cells}
    both = [cell for cell in cells if cell in reference and cell in current]
    judged = max(1, sum(limits[cell].judge for cell in both))
    alpha = (1 - rules.confidence) / judged
    chance = seed_tolerances({cell: (reference[cell], current[cell]) for cell in both}, alpha)
    found = []
    for cell in cells:
        a, b = list(reference.get(cell, {}).values()), list(current.get(cell, {}).values())
        line = Judgement(cell, limits[cell], _mean(a), _mean(b), (_deviation(a), _deviation(b)))
        if cell in chance:
            line = _with_tolerance(line, chance[cell])
            if chance[cell] is None and abs(line.gain) > (line.tolerance or 0.0):
                (seed,), (other,) = reference[cell], current[cell]
                line = _with_images(line, error(cell, seed, other), alpha)
        found.append(replace(line, status=_status(line)))
    return sorted(found, key=lambda line: (ORDER.index(line.status), line.gain + (line.tolerance or 0.0)))


def seed_tolerances(
    pairs: Mapping[Cell, tuple[Mapping[int, float], Mapping[int, float]]], alpha: float
) -> dict[Cell, float | None]:
    """How far the seeds alone may take a difference of means, at one-sided error `alpha`; None if unknown."""
    spreads = {cell: _spread(*pair) for cell, pair in pairs.items()}
    family: dict[tuple[str, str], list[tuple[float, int, float]]] = defaultdict(list)
    for cell, spread in spreads.items():
        family[cell.method, cell.metric].append(spread)
    found: dict[Cell, float | None] = {}
    for cell, (squares, freedom, scale) in spreads.items():
        relatives = family[cell.method, cell.metric]
        total = sum(n for _, n, _ in relatives)
        if not freedom:
            found[cell] = None
            continue
        variance = max(squares / freedom, sum(s for s, _, _ in relatives) / total)
        found[cell] = float(stats.t.ppf(1 - alpha, total)) * math.sqrt(variance) * scale
    return found


def _spread(a: Mapping[int, float], b: Mapping[int, float]) -> tuple[float, int, float]:
    """Sum of squares, degrees of freedom, and the standard error of the difference of means per unit of s."""
    if a.keys() == b.keys() and len(a) > 1:
        groups, scale = [[b[seed] - a[seed] for seed in a]], math.sqrt(1 / len(a))
    else:
        groups, scale = [list(a.values()), list(b.values())], math.sqrt(1 / len(a) + 1 / len(b))
    squares = sum(float(np.var(group)) * len(group) for group in groups)
    return squares, sum(len(group) - 1 for group in groups), scale


def _with_tolerance(line: Judgement, seeds: float | None) -> Judgement:
    fixed = line.limits.fixed(line.reference or 0.0)
    if seeds is not None and seeds > fixed:
        return replace(line, tolerance=seeds, basis="seeds")
    return replace(line, tolerance=fixed, basis="rule")


def _with_images(line: Judgement, error: float | None, alpha: float) -> Judgement:
    wide = 0.0 if error is None else float(stats.norm.ppf(1 - alpha)) * error
    return replace(line, tolerance=wide, basis="images") if wide > (line.tolerance or 0.0) else line


def _status(line: Judgement) -> Status:
    if not line.limits.judge:
        return "not judged"
    if line.current is None:
        return "missing"
    if line.tolerance is not None and line.gain < -line.tolerance - ROUNDING:
        return "regressed"
    if line.limits.beyond(line.current):
        return "beyond limit"
    if line.tolerance is None:
        return "new"
    return "better" if line.gain > line.tolerance + ROUNDING else "same"


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _deviation(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
