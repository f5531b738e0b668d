"""How far two runs are apart, what is allowed and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.cuda_parts.isolation import DIFFERS, OK


@dataclass(frozen=True)
class Tolerances:
    """The largest differences allowed in float32 and under mixed precision.

    Attributes:
        rows: the largest of features, of their largest value.
        rows_l2: of all features together, in L2, relative.
        loss: of the first loss, relative.
        gradients: of the first gradients, in L2, relative to each tensor's norm.
        scores: the 95th percentile of the scores' differences, in their standard deviations.
        auroc: of the image AUROC.
        moved: of scores after a model's file was loaded on the other device, as `scores`.
    """

    rows: float
    rows_l2: float
    loss: float
    gradients: float
    scores: float
    auroc: float
    moved: float


# float32 rounds to 6e-8; a sum of n terms in another order is off by some sqrt(n) of that.
FLOAT32 = Tolerances(
    # Stored as float16: one step of 2^-11 of a value, where the float32 sums fall on two sides of a boundary.
    rows=2e-3,
    # The same of typical values; the rounding to float16 itself is 2e-4.
    rows_l2=1e-3,
    # One forward pass rounds to 1e-6. The density prior takes distances from differences of large squares,
    # and weighs images by a power of them: 1e-4 between two orders of summation on one CPU.
    loss=1e-3,
    # As the loss, once more backwards (3e-3 likewise); a hinge or ReLU whose sign flips drops a whole term.
    gradients=2e-2,
    # After the steps of a fit: Adam divides by the gradient's own size, so that where a gradient is nearly
    # nothing its rounding decides the sign of a full step.
    scores=0.05,
    # A pair of images whose scores are that near may change places: one pair of 100 is 0.01.
    auroc=0.02,
    # The same weights, once each: as a forward pass, and no more.
    moved=1e-3,
)
# bfloat16 keeps 8 bits: a value is off by up to 2^-9 = 2e-3, a layer's sum by less than that of its terms.
MIXED = Tolerances(
    # The worst of 10^5 values or more after some 50 layers, each rounded: 0.09 by autocast on a CPU.
    rows=0.2,
    # The typical one: roundings of 50 layers add up as their root.
    rows_l2=5e-2,
    # A mean over patches: single roundings cancel, a bias of some layers stays.
    loss=3e-2,
    # Two passes of rounded products, of whole tensors (in L2), 0.2 by autocast on a CPU: second derivatives
    # of a small loss are made of differences.
    gradients=0.35,
    # A fit of rounded gradients is another fit of the same quality; its scores agree to a part of their
    # spread.
    scores=0.4,
    # The quality itself: this is what must hold.
    auroc=0.06,
    # One forward pass with its layers rounded.
    moved=5e-2,
)


def verdict(differences: Mapping[str, float | None], allowed: Tolerances) -> tuple[str, dict[str, Any]]:
    """`ok` or `differs`, and every difference beside what is allowed.

    Args:
        differences: by the names of `Tolerances`; None: there is no such thing here. NaN is too far.
        allowed: the limits.
    """
    values: dict[str, Any] = {}
    status = OK
    for name, found in differences.items():
        limit = getattr(allowed, name)
        values[name] = None if found is None else float(f"{found:.3g}")
        values[f"{name}_allowed"] = limit
        if found is not None and not found <= limit:
            status = DIFFERS
    return status, values


def relative(found: float | None, expected: float | None) -> float | None:
    """`|found - expected| / |expected|`; None where there is nothing to compare."""
    if found is None or expected is None:
        return None
    return abs(found - expected) / max(abs(expected), 1e-12)


def gradient_difference(found: Sequence[Tensor] | None, expected: Sequence[Tensor] | None) -> float | None:
    """The largest `||a - b|| / ||b||` of two lists of tensors; infinite where they are not of one shape.

    Tensors whose norm is below a thirtieth of all tensors' are measured by that: a bias before batch
    normalisation has no gradient but rounding.
    """
    if found is None or expected is None:
        return None
    if [t.shape for t in found] != [t.shape for t in expected]:
        return float("inf")
    norms = [float(t.norm()) for t in expected]
    least = max(sum(norm**2 for norm in norms) ** 0.5 / 30, 1e-30)
    pairs = zip(found, expected, norms, strict=True)
    return max((float((a - b).norm()) / max(norm, least) for a, b, norm in pairs), default=0.0)


def score_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The 95th percentile of `|found - expected|`, in standard deviations of what is expected."""
    spread = max(float(expected.std()), 1e-12)
    return float(np.quantile(np.abs(found.astype(np.float64) - expected), 0.95)) / spread


def row_differences(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Of features: the largest difference, relative to the largest feature; and all of them, in L2."""
    apart, whole = found.astype(np.float64) - expected, expected.astype(np.float64)
    largest = max(float(np.abs(whole).max()), 1e-12)
    return {
        "rows": float(np.abs(apart).max()) / largest,
        "rows_l2": float(np.linalg.norm(apart) / max(float(np.linalg.norm(whole)), 1e-12)),
    }


def image_auroc(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """The share of (normal, anomalous) pairs in order; a tie counts half. By definition, of few images."""
    above = scores[anomalous][:, None] - scores[~anomalous][None]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))
