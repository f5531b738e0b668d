"""The report's first sentences: who leads by how much, and whether that means anything."""

from collections.abc import Mapping

import numpy as np

from adlib.report.chart import percent
from adlib.report.per_image import PairedTest
from adlib.report.results import LEADING, METRIC_NAMES, Results


def verdict(
    results: Results, tests: Mapping[float, PairedTest], *, trained_elsewhere: bool = False
) -> list[str]:
    """Sentences on the leader, by image AUROC if there is one, at the lowest and at the highest noise level.

    Args:
        results: every metric.
        tests: the leader's paired test against the runner-up, by noise level. With several seeds their
            spread is the better judge, and the tests are left to the table.
        trained_elsewhere: no method trains on the target's images.
    """
    levels = dict.fromkeys((min(results.levels), max(results.levels)))
    if results.leading != LEADING:  # no normal images: there is no training set to be dirty
        levels, trained_elsewhere = dict.fromkeys([min(results.levels)]), True
    sentences = [
        f"{_trained(level, elsewhere=trained_elsewhere)}, {_at(results, level, tests.get(level))}"
        for level in levels
    ]
    if len(results.seeds) == 1 and len(results.methods) > 1:
        sentences.append(
            "Only one seed was run, so the spread between runs is not known: add seeds before you rely on a "
            "small difference."
        )
    return sentences


def ranking(results: Results, level: float) -> tuple[list[int], np.ndarray]:
    """Methods at a noise level, the best first, and their `(M, S)` leading metric (mean over categories)."""
    n, k = results.levels.index(level), results.metrics.index(results.leading)
    values = results.over_categories().values[0, :, n, :, k]
    return [int(m) for m in np.argsort(-values.mean(axis=1), kind="stable")], values


def signed(value: float) -> str:
    """A difference with its sign, three decimals."""
    return f"{value:+.3f}".replace("-", "−")


def _trained(level: float, *, elsewhere: bool) -> str:
    if elsewhere:
        return "Trained on another set"
    return f"With {percent(level)} anomalies in the training set" if level else "Trained on clean images"


def _at(results: Results, level: float, test: PairedTest | None) -> str:
    order, values = ranking(results, level)
    names = [results.methods[m] for m in order]
    C, S, first = len(results.categories), len(results.seeds), values[order[0]]
    metric = METRIC_NAMES[results.leading]
    what = f"a mean {metric} over {C} categories"
    if C == 1:
        what = f"{'an' if metric[0] in 'aeiou' else 'a'} {metric} on {results.categories[0]}"
    spread = f" (± {first.std(ddof=1):.3f} over {S} seeds)" if S > 1 else ""
    score = f"{what} of {first.mean():.3f}{spread}"
    if len(order) == 1:
        return f"{names[0]} reaches {score}."
    second = values[order[1]]
    ahead = first.mean() - second.mean()
    if f"{ahead:.3f}" == "0.000":
        return f"{names[0]} and {names[1]} are level at {score}."
    doubt = _doubt(first, second, test)
    return f"{names[0]} leads with {score}, {ahead:.3f} ahead of {names[1]}{doubt}."


def _doubt(first: np.ndarray, second: np.ndarray, test: PairedTest | None) -> str:
    """What the seeds, or with a single one the test images, say about the leader's `(S,)` AUROC."""
    if len(first) > 1:
        # The wider of the two: a gap that one method's own seeds bridge is no gap.
        wide = max(first.std(ddof=1), second.std(ddof=1))
        if first.mean() - second.mean() > wide:
            return ""
        return f"; that is within the spread over seeds ({wide:.3f}), so neither is shown to be better"
    if test is None:
        return ""
    low, high = test.interval
    interval = f"95 % interval over test images {signed(low)} to {signed(high)}"
    return f" ({interval})" if low > 0 else f", which these test images do not settle ({interval})"
