"""Where the positives stand among all scores: the one sort that every metric of this package reads.

Between two neighbouring positive scores only false positives are added, so each metric is a mean or a
maximum over the positives alone, and no curve over all thresholds is ever built. With P positives,
N negatives and, for a positive of score s, `TP` positives and `FP` negatives at or above s, and `FP_above`
negatives strictly above s:

- AUROC = mean over positives of `1 - (FP_above + FP) / 2N`   (Mann-Whitney U; ties count one half)
- AP    = mean over positives of `TP / (TP + FP)`             (recall steps by the share of positives at `s`)
- F1max = max over positives of `2 TP / (TP + FP + P)`        (a negative's score adds false positives only)
- AUPRO = mean over regions of the mean over the region's pixels of a clipped AUROC term (see `segmentation`)
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """The positives in descending order of score, with their counts (all arrays (P,), int64 counts)."""

    scores: np.ndarray
    order: np.ndarray
    """Position of each in `scores[labels]`."""
    true_positives: np.ndarray
    """Positives with a score at or above this one."""
    false_positives: np.ndarray
    """Negatives with a score at or above this one."""
    false_positives_above: np.ndarray
    """Negatives with a strictly higher score; differs from `false_positives` only at ties."""
    negatives: int

    @property
    def positives(self) -> int:
        return self.scores.size


def rank_positives(scores: np.ndarray, labels: np.ndarray) -> Ranking:
    """Rank the positives of checked `scores` among all of them; `labels` is bool of the same (any) shape.

    Sorting values is vectorised in NumPy and an order of magnitude faster than sorting indices, so all scores
    are sorted by value and only the positives, few among pixels, by index. Negatives are all minus positives.

    Example:
        >>> ranking = rank_positives(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
        >>> ranking.scores, ranking.true_positives, ranking.false_positives
        (array([0.8 , 0.35]), array([1, 2]), array([0, 1]))
    """
    positive = scores[labels]
    order = np.argsort(positive)[::-1]
    ranked = positive[order]
    everything, own = np.sort(scores, axis=None), ranked[::-1]
    at_or_above, above = _count_above(everything, ranked)
    true_positives, true_positives_above = _count_above(own, ranked)
    return Ranking(
        scores=ranked,
        order=order,
        true_positives=true_positives,
        false_positives=at_or_above - true_positives,
        false_positives_above=above - true_positives_above,
        negatives=scores.size - positive.size,
    )


def area_under_roc(ranking: Ranking) -> float:
    """Mann-Whitney U / PN in whole numbers, so the only rounding is the last division.

    Example:
        >>> area_under_roc(rank_positives(np.array([0.4, 0.3, 0.8]), np.array([False, True, True])))
        0.5
    """
    P, N = ranking.positives, ranking.negatives
    twice_losses = int((ranking.false_positives_above + ranking.false_positives).sum())
    return (2 * P * N - twice_losses) / (2 * P * N)


def mean_precision(ranking: Ranking) -> float:
    """Step-wise average precision, the sum over thresholds of precision times the step of recall.

    Example:
        >>> mean_precision(rank_positives(np.array([0.4, 0.3, 0.8]), np.array([False, True, True])))
        0.8333333333333333
    """
    flagged = ranking.true_positives + ranking.false_positives
    return float(np.mean(ranking.true_positives / flagged))


def best_f1(ranking: Ranking) -> tuple[float, float]:
    """Largest F1 and the highest threshold that reaches it.

    Example:
        >>> best_f1(rank_positives(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])))
        (0.8, 0.35)
    """
    f1 = 2 * ranking.true_positives / (ranking.true_positives + ranking.false_positives + ranking.positives)
    best = int(np.argmax(f1))  # argmax takes the first maximum, and scores descend
    return float(f1[best]), float(ranking.scores[best])


def _count_above(ascending: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of `ascending` are at or above, and how many strictly above, each score."""
    below = np.searchsorted(ascending, scores, side="left")
    at_or_below = np.searchsorted(ascending, scores, side="right")
    return ascending.size - below, ascending.size - at_or_below
