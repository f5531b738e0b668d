"""Per-channel statistics of the training features; test images never enter them."""

import torch
from torch import Tensor

from adlib.data.rows import FeatureView

BATCH = 32


def feature_statistics(features: FeatureView, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel over all training patches: `(D,)` each."""
    total = torch.zeros(features.width, dtype=torch.float64, device=device)
    squares = torch.zeros_like(total)
    for batch in features.batches(BATCH, device):
        total += batch.sum((0, 1), dtype=torch.float64)
        squares += batch.square().sum((0, 1), dtype=torch.float64)
    count = len(features) * features.patches
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    # A channel that never varies carries nothing; dividing by 1 leaves it at zero.
    return mean.float(), torch.where(std > 1e-6, std, 1.0).float()
