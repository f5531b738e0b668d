"""The evidence behind a suspicion: where a training image looks wrong, and which others look most like it."""

import numpy as np
import torch
from torch import Tensor

from adlib.data.rows import FeatureView
from adlib.learning.methods.contract import Detector, score_images
from adlib.learning.methods.statistics import BATCH, feature_statistics

EXAMINED = 20  # images
WORST = 5  # patches of each
NEAREST = 3  # other images


@torch.inference_mode()
def examine(
    detector: Detector, features: FeatureView, suspicion: Tensor, device: torch.device
) -> dict[str, Tensor]:
    """Collect the evidence for the most suspect images.

    Args:
        detector: fitted on `features`.
        features: the training set, S images.
        suspicion: `(S,)`, higher is more suspect.
        device: where to compute.

    Returns:
        The K most suspect ones, the most suspect first: `images` `(K,)` their positions in the training set,
        `patch` `(K, N)` their patch scores, `nearest` `(K, M)` positions of the trusted images whose patches
        are most like their worst ones, the most alike first.
    """
    images = suspicion.argsort(descending=True, stable=True)[:EXAMINED]
    view = features.subset(images.numpy())
    patch = score_images(detector, view, device)["patch"]
    trusted = suspicion <= suspicion.median()
    distance = _from_worst_patches(patch, view, features, trusted, device)
    distance[torch.arange(len(images)), images] = torch.inf  # nobody is their own witness
    count = max(1, min(NEAREST, int(trusted.sum()) - 1))
    nearest = distance.topk(count, dim=1, largest=False).indices
    return {"images": images, "patch": patch, "nearest": nearest}


@torch.inference_mode()
def nearest_normals(
    patch: Tensor, images: FeatureView, features: FeatureView, suspicion: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Find normal training images that look most like the worst patches of other images.

    Args:
        patch: `(T, N)` patch scores of `images`.
        images: T images that did not train.
        features: the training set, S images.
        suspicion: `(S,)`; the half with less of it is trusted.
        device: where to compute.

    Returns:
        Of every image the M trusted training images whose patches are most like its worst ones, the most
        alike first: positions in the training set `(T, M)`, and distances `(T, M)`, means over those patches.
    """
    trusted = suspicion <= suspicion.median()
    distance = _from_worst_patches(patch, images, features, trusted, device)
    values, nearest = distance.topk(min(NEAREST, int(trusted.sum())), dim=1, largest=False)
    return nearest, values


def _from_worst_patches(
    patch: Tensor, images: FeatureView, features: FeatureView, trusted: Tensor, device: torch.device
) -> Tensor:
    """Distances of K images to the trusted of S training images: `(K, S)`, infinite to the others."""
    worst = patch.topk(min(WORST, patch.shape[1]), dim=1).indices
    wrong = images.sampled_batch(np.arange(len(images)), worst.numpy(), device)
    scale = feature_statistics(features, device)
    distance = torch.full((len(images), len(features)), torch.inf)
    distance[:, trusted] = patch_distances(wrong, features.subset(np.flatnonzero(trusted)), scale, device)
    return distance


def patch_distances(
    wrong: Tensor, features: FeatureView, scale: tuple[Tensor, Tensor], device: torch.device
) -> Tensor:
    """How far, on average, each image's nearest patches are from the wrong ones.

    Args:
        wrong: `(K, W, D)`, W patches of each of K images.
        features: S images.
        scale: mean and deviation of every channel, `(D,)` each; distances are taken on standardised features.
        device: where to compute.

    Returns:
        `(K, S)` on the CPU.
    """
    K, W, D = wrong.shape
    mean, std = scale
    queries = ((wrong - mean) / std).reshape(K * W, D)
    distances = [
        torch.cdist(queries, (image - mean) / std).amin(dim=1).reshape(K, W).mean(dim=1)
        for batch in features.batches(BATCH, device)
        for image in batch
    ]
    return torch.stack(distances, dim=1).cpu()
