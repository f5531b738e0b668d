"""SimpleNet as published, without test-picked epochs (Liu et al. 2023): every training image is trusted."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adlib.base.device import mixed_precision
from adlib.base.rng import torch_stream
from adlib.config.methods import SimpleNetHead
from adlib.data.rows import FeatureView
from adlib.learning.heads.simplenet import patch_losses
from adlib.learning.methods.contract import Fit
from adlib.learning.methods.epochs import train_epochs
from adlib.learning.methods.simplenet.sampling import (
    PatchSampler,
    SimpleNetDetector,
    check_trainable,
    head_optimiser,
    new_head,
)


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
