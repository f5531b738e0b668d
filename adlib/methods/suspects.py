"""The evidence behind a suspicion: where a training image looks wrong, and which others look most like it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adlib.features.store import FeatureView
from adlib.methods.detector import Detector, score_images
from adlib.methods.statistics import BATCH, feature_statistics

EXAMINED = 20  # images
WORST = 5  # patches of each
NEAREST = 3  # other images


@dataclass(frozen=True)
class Suspects:
    """The most suspect training images, K of them, the most suspect first.

    Attributes:
        images: `(K,)` positions in the training set.
        patch: `(K, N)` patch scores.
        nearest: `(K, M)` positions of the trusted images that have the likest patches, the likest first.
    """

    images: Tensor
    patch: Tensor
    nearest: Tensor


@torch.inference_mode()
def examine(detector: Detector, features: FeatureView, suspicion: Tensor, device: torch.device) -> Suspects:
    """Collect the evidence for the most suspect images.

    Args:
        detector: fitted on `features`.
        features: the training set, S images.
        suspicion: `(S,)`, higher is more suspect.
        device: where to compute.
    """
    images = suspicion.argsort(descending=True, stable=True)[:EXAMINED]
    view = features.subset(images.numpy())
    patch = score_images(detector, view, device)["patch"]
    worst = patch.topk(min(WORST, patch.shape[1]), dim=1).indices
    wrong = view.sampled_batch(np.arange(len(images)), worst.numpy(), device)
    trusted = suspicion <= suspicion.median()
    distance = _distances(wrong, features, device)
    distance[:, ~trusted] = torch.inf
    distance[torch.arange(len(images)), images] = torch.inf  # nobody is their own witness
    count = max(1, min(NEAREST, int(trusted.sum()) - 1))
    return Suspects(images, patch, distance.topk(count, dim=1, largest=False).indices)


def _distances(wrong: Tensor, features: FeatureView, device: torch.device) -> Tensor:
    """How far, on average, each image's nearest patches are from the wrong ones `(K, W, D)`: `(K, S)`."""
    K, W, D = wrong.shape
    mean, std = feature_statistics(features, device)
    queries = ((wrong - mean) / std).reshape(K * W, D)
    distances = [
        torch.cdist(queries, (image - mean) / std).amin(dim=1).reshape(K, W).mean(dim=1)
        for batch in features.batches(BATCH, device)
        for image in batch
    ]
    return torch.stack(distances, dim=1).cpu()
