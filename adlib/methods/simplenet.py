"""SimpleNet as published, without test-picked epochs (Liu et al. 2023): every training image is trusted."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adlib.device import mixed_precision
from adlib.features.store import FeatureView
from adlib.heads.simplenet import patch_losses
from adlib.methods.detector import Fit
from adlib.methods.epochs import train_epochs
from adlib.methods.simplenet_head import (
    PatchSampler,
    SimpleNetDetector,
    check_trainable,
    head_optimiser,
    new_head,
)
from adlib.rng import torch_stream
from adlib.schema import SimpleNetHead


def fit_simplenet(params: SimpleNetHead, features: FeatureView, seed: int, device: torch.device) -> Fit:
    """Train adaptor and discriminator for a fixed number of epochs."""
    batch_size = check_trainable(features, params.batch_size)
    head = new_head(params, features, seed, device).train()
    iterations = len(features) // batch_size
    optimiser = head_optimiser(params, head, params.epochs * iterations, weight_decay=params.weight_decay)
    sampler = PatchSampler(params, features, seed, device)
    order = torch_stream(seed, "simplenet", "order")

    def batches() -> Sequence[Tensor]:
        # Of equal size (within one): none is too small for batch statistics.
        return torch.randperm(len(features), generator=order).tensor_split(iterations)

    def loss(images: Tensor) -> Tensor:
        draw = sampler.draw(images)
        with mixed_precision(device):
            return patch_losses(head(draw.patches, draw.noise), params.margin).mean()

    log = train_epochs("simplenet", params.epochs, batches, loss, optimiser)
    return Fit(SimpleNetDetector(head.eval()), log=log)
