"""The decision threshold, from normal images that neither trained nor test: split conformal prediction.

An image is flagged when its score is *above* the threshold. With n calibration scores and the k-th smallest
of them as threshold, k = ceil((n + 1)(1 - fpr)), a new normal image that is exchangeable with the calibration
images is flagged with probability at most `(n + 1 - k) / (n + 1)`, and exactly that without ties: at most
`fpr`, and more than `fpr - 1 / (n + 1)`. The probability is over the calibration images and the new one; the
rate of one threshold once it is drawn varies around it as Beta(n + 1 - k, k).

Sources: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World" (the promise); Vovk 2012,
"Conditional validity of inductive conformal predictors" (its spread).
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.special import betaincinv


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold and what it promises.

    Attributes:
        threshold: an image is flagged when its score is above it.
        fpr: the false-alarm rate that was asked for.
        n: calibration images.
        trimmed: how many of their scores, the highest, were taken for anomalies and left out.
        promised: the probability of a false alarm is at most this, even if no trimmed image is an anomaly.
        smallest: the least that n - trimmed images can promise, 1 / (n - trimmed + 1); where `fpr` is below
            it, the threshold is the highest score that is left, and this is what it promises (without trim).
        upper_95: with 95 % confidence the rate of this very threshold is at most this (no trimmed anomaly).
    """

    threshold: float
    fpr: float
    n: int
    trimmed: int
    promised: float
    smallest: float
    upper_95: float


def conformal_threshold(scores: np.ndarray, fpr: float, trim: float = 0.0) -> Threshold:
    """The threshold that calibration scores give for a false-alarm rate.

    Anomalies among the calibration images only raise the threshold where their scores tend to be higher than
    those of normal images: the promise holds, and recall falls. `trim` takes the highest scores for
    such anomalies. What is then promised, whatever they are, is looser than `fpr`; it is `max(fpr, smallest)`
    as long as the trimmed images really are anomalies.

    Args:
        scores: `(n,)`, higher is more anomalous.
        fpr: wanted false-alarm rate, in (0, 1).
        trim: fraction of the n scores, the highest, that is left out, in [0, 1).

    Raises:
        ValueError: no score, a score that is not finite, or a rate out of range.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64), axis=None)
    if not values.size or not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(
            f"scores: expected at least one and only finite ones, got {values.size} of which {bad} are NaN "
            "or infinite; find the model or image that produced them"
        )
    if not 0 < fpr < 1:
        raise ValueError(f"fpr: expected a fraction in (0, 1), got {fpr}; 1 % is written 0.01")
    if not 0 <= trim < 1:
        raise ValueError(f"trim: expected a fraction in [0, 1), got {trim}; 5 % is written 0.05")
    n = len(values)
    trimmed = math.floor(n * _exactly(trim))
    left = n - trimmed
    k = min(math.ceil((left + 1) * (1 - _exactly(fpr))), left)
    return Threshold(
        threshold=float(values[k - 1]),
        fpr=float(fpr),
        n=n,
        trimmed=trimmed,
        promised=(n + 1 - k) / (n + 1),
        smallest=1 / (left + 1),
        upper_95=float(betaincinv(n + 1 - k, k, 0.95)),
    )


def exceeds(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Which images are flagged: `(S,)` bool. A score equal to the threshold is not.

    The threshold stays float64, which holds a float32 score exactly; as a Python float it would be rounded.
    """
    return np.asarray(scores) > np.float64(threshold)


def _exactly(fraction: float) -> Fraction:
    """The decimal number that was written: 0.07 * 100 is 7, not 7.000000000000001."""
    return Fraction(str(float(fraction)))
