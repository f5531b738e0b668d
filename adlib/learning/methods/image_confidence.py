"""How far training would have trusted an image that it did not see: CoMet eq. 1 with its last threshold."""

import math
from dataclasses import dataclass

from torch import Tensor

from adlib.learning.equations.confidence import sample_weights
from adlib.learning.heads.simplenet import hinge


def confidence_score(normality: Tensor, margin: float, worst: float) -> Tensor:
    """The score `a_i` of SimpleNet's head: the hinge, averaged over an image's worst patches.

    Args:
        normality: `(B, P)`, `D(q)`.
        margin: th of the hinge.
        worst: fraction of the patches, those with the largest hinge.

    Returns:
        `(B,)`, >= 0.
    """
    losses = hinge(normality, margin)
    kept = math.ceil(worst * losses.shape[1])
    return (losses if kept == losses.shape[1] else losses.topk(kept, dim=1).values).mean(dim=1)


@dataclass(frozen=True)
class ImageConfidence:
    """What eq. 1 needs to weigh an image.

    Attributes:
        threshold: t of the training images (eq. 2), after the last epoch.
        margin: see `confidence_score`.
        worst: likewise.
        floor: the smallest weight.
    """

    threshold: float
    margin: float
    worst: float
    floor: float

    def score(self, normality: Tensor) -> Tensor:
        """`a_i` of images `(B, N)`: `(B,)`."""
        return confidence_score(normality.float(), self.margin, self.worst)

    def weight(self, normality: Tensor) -> Tensor:
        """`min(1, t / a_i)` of images `(B, N)`: `(B,)` in [floor, 1]."""
        return sample_weights(self.score(normality), None, self.floor, threshold=self.threshold)
