"""Where CoMet starts from: weights of training images and patches by how isolated they are (`density`).

Not in the paper. Eq. 1 is applied to isolation instead of the model's score, twice: to patches as it
stands, and to images after their median is taken off, so that differences count and not the common level.
A power sharpens both: `min(1, t / a)` alone falls too slowly to matter.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from adlib.base.rng import numpy_stream
from adlib.config.methods import PriorParams
from adlib.data.rows import FeatureView
from adlib.learning.equations.confidence import sample_weights
from adlib.learning.equations.density import isolation


@dataclass(frozen=True)
class Prior:
    """What is known about the training set before training.

    Attributes:
        positions: `(S, P)`, the patches that training draws from.
        image: `(S,)` weights of the images, in (0, 1].
        patch: `(S, P)` weights of those patches, in (0, 1].
        suspicion: `(S,)`, the isolation of each image's most isolated patches.
    """

    positions: np.ndarray
    image: Tensor
    patch: Tensor
    suspicion: Tensor


def no_prior(features: FeatureView) -> Prior:
    """Every patch of every image is trusted, as in the paper."""
    S, N = len(features), features.patches
    positions = np.broadcast_to(np.arange(N), (S, N))
    return Prior(positions, image=torch.ones(S), patch=torch.ones(S, N), suspicion=torch.zeros(S))


def density_prior(
    params: PriorParams,
    kappa: float,
    floor: float,
    features: FeatureView,
    mean: Tensor,
    std: Tensor,
    seed: int,
) -> Prior:
    """Weigh images and patches by their isolation among the other training images.

    Args:
        params: how patches are compared and how sharply isolation counts.
        kappa: eq. 2, for the patches.
        floor: the smallest weight.
        features: the training set.
        mean: `(D,)`, of the training features.
        std: `(D,)`, likewise; distances are taken on standardised features, where these tensors are.
        seed: draws the patches.
    """
    S, N = len(features), features.patches
    rng = numpy_stream(seed, "comet", "prior")
    positions = np.stack([rng.permutation(N)[: params.patches] for _ in range(S)])
    patches = (features.sampled_batch(np.arange(S), positions, mean.device) - mean) / std
    isolated = isolation(patches, patches[:, : params.bank], params.neighbours).cpu()
    top = isolated.topk(min(params.top, isolated.shape[1]), dim=1).values.mean(dim=1)
    above_median = (top - top.median()).clamp_min(0)
    image = _weights(above_median, 0.0, floor, params.image_power)
    if params.patch_power == 0:  # all patches weigh the same, so training may draw from every one
        return replace(no_prior(features), image=image, suspicion=top)
    return Prior(positions, image, _weights(isolated, kappa, floor, params.patch_power), suspicion=top)


def _weights(scores: Tensor, kappa: float, floor: float, power: float) -> Tensor:
    weights = sample_weights(scores.flatten(), kappa, torch.finfo(scores.dtype).tiny)
    return weights.pow(power).clamp_min(floor).reshape(scores.shape)
