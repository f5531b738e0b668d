"""Image-level metrics: scores (S,), higher is more anomalous, against labels (S,), 1 is anomalous.

NumPy arrays, sequences and torch tensors are accepted. Tied scores are one threshold, and a decision is
`score >= threshold`. Every function raises `ValueError` for what `inputs.check_scores` lists.
"""

import math

import numpy as np

from adlib.evaluation.metrics.inputs import Input, check_fraction, check_scores
from adlib.evaluation.metrics.ranking import area_under_roc, best_f1, mean_precision, rank_positives


def auroc(scores: Input, labels: Input) -> float:
    """Area under the ROC curve in [0, 1]: the chance that an anomalous score beats a normal one, ties half.

    Source: Hanley and McNeil 1982, the Mann-Whitney statistic.

    Example:
        0.8 beats both normal scores, 0.35 one of them:

        >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.75
    """
    return area_under_roc(rank_positives(*check_scores(scores, labels)))


def average_precision(scores: Input, labels: Input) -> float:
    """Step-wise average precision in (0, 1], without interpolation, as scikit-learn defines it.

    Example:
        Precision is 1 at 0.8 and 2/3 at 0.35:

        >>> average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.8333333333333333
    """
    return mean_precision(rank_positives(*check_scores(scores, labels)))


def f1_max(scores: Input, labels: Input) -> tuple[float, float]:
    """Largest F1 over all thresholds and the threshold, the highest one if several reach the maximum.

    The threshold is chosen with the labels given here: an upper bound, not a deployable operating point.

    Example:
        At 0.35 both anomalies and one normal image are flagged:

        >>> f1_max([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        (0.8, 0.35)
    """
    return best_f1(rank_positives(*check_scores(scores, labels)))


def precision_recall_f1(scores: Input, labels: Input, threshold: float) -> tuple[float, float, float]:
    """Precision, recall and F1 in [0, 1] of `score >= threshold`; precision is 0 when nothing is flagged.

    Raises:
        ValueError: as above, and for a NaN threshold (infinite ones flag everything or nothing).

    Example:
        >>> precision_recall_f1([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], threshold=0.4)
        (0.5, 0.5, 0.5)
    """
    values, truth = check_scores(scores, labels)
    if math.isnan(threshold):
        raise ValueError("threshold: expected a number, got nan; calibrate the threshold first")
    # A float64 threshold makes NumPy compare in float64; a Python float would be rounded to the scores' type.
    flagged = values >= np.float64(threshold)
    hits, alarms, positives = int((flagged & truth).sum()), int(flagged.sum()), int(truth.sum())
    return hits / max(alarms, 1), hits / positives, 2 * hits / (alarms + positives)


def fpr_at_tpr(scores: Input, labels: Input, tpr: float = 0.95) -> float:
    """False positive rate in [0, 1] at the highest threshold whose true positive rate is at least `tpr`.

    No interpolation: a threshold that reaches the rate exists, since the lowest positive score gives 1.

    Raises:
        ValueError: as above, and for `tpr` outside (0, 1].

    Example:
        All anomalies need the threshold 0.35, which one normal image of two exceeds:

        >>> fpr_at_tpr([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.5
    """
    wanted = check_fraction(tpr, "tpr")
    ranking = rank_positives(*check_scores(scores, labels))
    reached = np.searchsorted(ranking.true_positives / ranking.positives, wanted, side="left")
    return float(ranking.false_positives[reached]) / ranking.negatives


def image_metrics(scores: Input, labels: Input) -> dict[str, float]:
    """`image_auroc`, `image_ap` and `image_f1max` from one sort.

    Example:
        >>> image_metrics([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        {'image_auroc': 0.75, 'image_ap': 0.8333333333333333, 'image_f1max': 0.8}
    """
    ranking = rank_positives(*check_scores(scores, labels))
    return {
        "image_auroc": area_under_roc(ranking),
        "image_ap": mean_precision(ranking),
        "image_f1max": best_f1(ranking)[0],
    }
