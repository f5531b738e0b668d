"""How sure are we: intervals for one method and a paired test for two, over the images of one test set."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, stdtrit

from adlib.evaluation.metrics.inputs import Input, check_scores

Metric = Callable[[np.ndarray, np.ndarray], float]

# Index entries drawn at a time: bounds memory to some tens of MB. It is part of the seeded result, since it
# decides the order in which random numbers are used.
BLOCK_ENTRIES = 2**20


def bootstrap_interval(
    metric: Metric,
    scores: Input,
    labels: Input,
    *,
    level: float = 0.95,
    draws: int = 1000,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of `metric(scores, labels)` over images.

    Normal and anomalous images are resampled apart, so each draw keeps the size of both classes.

    Args:
        metric: returns one number; for `f1_max` pass `lambda s, y: f1_max(s, y)[0]`.
        scores: (S,), higher is more anomalous.
        labels: (S,), 1 is anomalous.
        level: coverage in (0, 1).
        draws: number of resamples, at least 1.
        rng: source of the resamples.

    Source: Efron and Tibshirani 1993, chapter 13.

    Raises:
        ValueError: see `inputs.check_scores`; `level` or `draws` out of range; a metric that is not a number.

    Example:
        Every resample of two classes that do not overlap has the AUROC 1:

        >>> from adlib.evaluation.metrics import auroc
        >>> bootstrap_interval(auroc, [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], rng=np.random.default_rng(0))
        (1.0, 1.0)
    """
    values, truth = check_scores(scores, labels)
    if not 0 < level < 1:
        raise ValueError(f"level: expected a fraction in (0, 1), got {level}; 95 % is written 0.95")
    if draws < 1:
        raise ValueError(f"draws: expected at least 1, got {draws}; 1000 is usual")
    picks = (pick for block in _stratified_draws(truth, draws, rng) for pick in block)
    results = np.asarray([metric(values[pick], truth[pick]) for pick in picks])
    if results.ndim != 1 or results.dtype.kind not in "fiub":
        raise ValueError(
            f"metric: expected one number, got {metric(values, truth)!r}; "
            "wrap it, for example `lambda s, y: f1_max(s, y)[0]`"
        )
    low, high = np.quantile(results, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def binomial_interval(hits: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval (low, high) of a rate that was met `hits` times in `total`; it covers at least `level`.

    Source: Clopper and Pearson 1934.

    Raises:
        ValueError: `hits` outside 0..total, no trial, or `level` outside (0, 1).

    Example:
        No hit in ten: the upper end solves (1 - p)^10 = 0.025.

        >>> [round(end, 4) for end in binomial_interval(0, 10)]
        [0.0, 0.3085]
    """
    if not (total > 0 and 0 <= hits <= total):
        raise ValueError(f"hits: expected 0..total with total at least 1, got {hits} of {total}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a fraction in (0, 1), got {level}; 95 % is written 0.95")
    tail = (1 - level) / 2
    low = betaincinv(hits, total - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, total - hits, 1 - tail) if hits < total else 1.0
    return float(low), float(high)


def mean_interval(values: Input, level: float = 0.95) -> tuple[float, float]:
    """Student's interval (low, high) of the mean of `values` (n,), for example of differences paired by seed.

    Raises:
        ValueError: fewer than two values, or `level` outside (0, 1).

    Example:
        The standard error is 1, and so is the quartile of Student's t with one degree of freedom:

        >>> [round(end, 4) for end in mean_interval([1.0, 3.0], level=0.5)]
        [1.0, 3.0]
    """
    found = np.asarray(values, dtype=float)
    if found.ndim != 1 or found.size < 2:
        raise ValueError(f"values: expected at least 2 in one row, got shape {found.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a fraction in (0, 1), got {level}; 95 % is written 0.95")
    error = found.std(ddof=1) / math.sqrt(found.size)
    half = float(stdtrit(found.size - 1, (1 + level) / 2) * error)
    return float(found.mean()) - half, float(found.mean()) + half


class DelongResult(NamedTuple):
    """Outcome of `delong_test`."""

    difference: float
    """AUROC of method a minus AUROC of method b, in [-1, 1]."""
    standard_error: float
    p_value: float
    """Two-sided, for the hypothesis of equal AUROC."""


def delong_test(scores_a: Input, scores_b: Input, labels: Input) -> DelongResult:
    """Paired comparison of two methods' AUROC on the same images, in O(S log S).

    An image's placement is the share of the other class that it beats, ties one half. The methods are
    compared image by image: the variance of the AUROC difference is the sum over both classes of the variance
    of the placement differences divided by the class size.

    When no placement difference varies, equal AUROC gives p = 1 and unequal p = 0; a standard error of 0 then
    says more about the size of the test set than about the methods.

    Source: DeLong, DeLong and Clarke-Pearson 1988; placements by sorting, as in Sun and Xu 2014.

    Args:
        scores_a: (S,) image scores of method a.
        scores_b: (S,) image scores of method b, same images in the same order.
        labels: (S,), 1 is anomalous.

    Raises:
        ValueError: see `inputs.check_scores`; fewer than two images in a class.

    Example:
        Method a ranks all four pairs rightly, method b three of them:

        >>> found = delong_test([0.1, 0.2, 0.8, 0.9], [0.1, 0.8, 0.2, 0.9], [0, 0, 1, 1])
        >>> [round(value, 4) for value in found]
        [0.25, 0.3536, 0.4795]
    """
    a, truth = check_scores(scores_a, labels, name="scores_a")
    b, _ = check_scores(scores_b, labels, name="scores_b")
    P = int(truth.sum())
    N = truth.size - P
    if min(P, N) < 2:
        raise ValueError(
            f"labels: expected at least 2 images of each class, got {P} anomalous and {N} normal; "
            "a variance needs two"
        )
    beats_normal = _twice_wins(a[truth], a[~truth]) - _twice_wins(b[truth], b[~truth])
    beats_anomalous = _twice_wins(a[~truth], a[truth]) - _twice_wins(b[~truth], b[truth])
    difference = int(beats_normal.sum()) / (2 * P * N)
    # The variance of a share is that of its whole-number count over (2N)^2 or (2P)^2.
    over_anomalous = np.var(beats_normal, ddof=1) / (2 * N) ** 2 / P
    over_normal = np.var(beats_anomalous, ddof=1) / (2 * P) ** 2 / N
    standard_error = math.sqrt(over_anomalous + over_normal)
    if standard_error == 0:
        return DelongResult(difference, 0.0, 1.0 if difference == 0 else 0.0)
    p_value = math.erfc(abs(difference) / standard_error / math.sqrt(2))
    return DelongResult(difference, standard_error, p_value)


def _twice_wins(scores: np.ndarray, opponents: np.ndarray) -> np.ndarray:
    """Twice the opponents below each score plus the tied ones: whole, so equal placements differ by 0."""
    ordered = np.sort(opponents)
    return np.searchsorted(ordered, scores, side="left") + np.searchsorted(ordered, scores, side="right")


def _stratified_draws(labels: np.ndarray, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Blocks (D, S) of image indices drawn with replacement; the anomalous images are the first columns."""
    S = labels.size
    groups = np.flatnonzero(labels), np.flatnonzero(~labels)
    rows = max(1, BLOCK_ENTRIES // S)
    for start in range(0, draws, rows):
        D = min(rows, draws - start)
        picks = [group[rng.integers(group.size, size=(D, group.size))] for group in groups]
        yield np.concatenate(picks, axis=1)
