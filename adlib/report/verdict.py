"""The report's first sentences: who leads by how much, and whether that means anything."""

import numpy as np

from adlib.report.results import LEADING, Results
from adlib.report.svg import percent


def verdict(results: Results) -> list[str]:
    """Sentences on the leader by image AUROC at the lowest and at the highest noise level."""
    levels = dict.fromkeys((min(results.levels), max(results.levels)))
    sentences = [_at(results, level) for level in levels]
    if len(results.seeds) == 1 and len(results.methods) > 1:
        sentences.append(
            "Only one seed was run, so the spread between runs is not known: add seeds before you rely on a "
            "small difference."
        )
    return sentences


def ranking(results: Results, level: float) -> tuple[list[int], np.ndarray]:
    """Methods at a noise level, the best first, and their `(M, S)` image AUROC (mean over categories)."""
    n, k = results.levels.index(level), results.metrics.index(LEADING)
    values = results.over_categories().values[0, :, n, :, k]
    return [int(m) for m in np.argsort(-values.mean(axis=1), kind="stable")], values


def _at(results: Results, level: float) -> str:
    order, values = ranking(results, level)
    mean, first = values.mean(axis=1), order[0]
    C = len(results.categories)
    where = "Trained on clean images" if level == 0 else f"With {percent(level)} anomalies among the training images"
    what = f"a mean image AUROC over {C} categories" if C > 1 else f"an image AUROC on {results.categories[0]}"
    score = f"{mean[first]:.3f}{_spread(values[first])}"
    if len(order) == 1:
        return f"{where}, {results.methods[first]} reaches {what} of {score}."
    second = order[1]
    ahead = mean[first] - mean[second]
    names = results.methods[first], results.methods[second]
    if f"{ahead:.3f}" == "0.000":
        return f"{where}, {names[0]} and {names[1]} are level with {what} of {score}."
    text = f"{where}, {names[0]} leads with {what} of {score}, {ahead:.3f} ahead of {names[1]}"
    if len(results.seeds) > 1:
        # The wider of the two: a gap that one method's own seeds bridge is no gap.
        wide = max(values[m].std(ddof=1) for m in (first, second))
        if ahead <= wide:
            return f"{text}. That is within the spread over seeds ({wide:.3f}): neither can be called better."
    return f"{text}."


def _spread(values: np.ndarray) -> str:
    S = len(values)
    return f" (± {values.std(ddof=1):.3f} over {S} seeds)" if S > 1 else ""
