"""What a fitted detector says of images that did not train: their scores, and the normals most like them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from adlib.data.rows import Features, FeatureView
from adlib.fits.files import HEAT_SCALE
from adlib.learning.methods.contract import Detector, image_weights, score_images
from adlib.learning.methods.image_confidence import ImageConfidence
from adlib.learning.methods.witnesses import nearest_normals


def calibration_scores(
    detector: Detector, features: Features, ids: Sequence[str], device: torch.device
) -> dict[str, Tensor]:
    """Image scores of the calibration images, and the ends of the colour scale of heat maps; {} without any.

    The scale is the model's, so that colours mean the same for every image that is ever predicted with it.
    """
    if not ids:
        return {}
    scores = score_images(detector, features.select(ids), device)
    scale = np.quantile(scores["patch"].numpy(), HEAT_SCALE)
    return {"calibration": scores["image"], "heat_scale": torch.from_numpy(scale)}


def resemblance(
    detector: Detector,
    confidence: ImageConfidence,
    patch: Tensor,
    images: FeatureView,
    witnesses: FeatureView,
    suspicion: Tensor,
    device: torch.device,
) -> dict[str, Tensor]:
    """What test images are like, and how far training would have trusted them: `fits.files.NearestNormals`.

    Args:
        detector: the fit's.
        confidence: the fit's.
        patch: `(T, N)` patch scores of `images`.
        images: T test images.
        witnesses: S normal images.
        suspicion: `(S,)`; the half of the witnesses with less of it is trusted, all if it is the same.
        device: where to compute.
    """
    nearest, distance = nearest_normals(patch, images, witnesses, suspicion, device)
    weights = image_weights(detector, confidence, images, device)
    return {"test_nearest": nearest, "test_distance": distance, "test_weight": weights}
