"""SimpleNet as published, without test-picked epochs (Liu et al. 2023): every training image is trusted."""

import torch

from adlib.device import mixed_precision
from adlib.features.store import FeatureView
from adlib.heads.simplenet import patch_losses
from adlib.methods.detector import Fit
from adlib.methods.simplenet_head import (
    HeadOptimiser,
    PatchSampler,
    SimpleNetDetector,
    check_trainable,
    new_head,
)
from adlib.progress import track
from adlib.rng import torch_stream
from adlib.schema import SimpleNetHead


def fit_simplenet(params: SimpleNetHead, features: FeatureView, seed: int, device: torch.device) -> Fit:
    """Train adaptor and discriminator for a fixed number of epochs."""
    batch_size = check_trainable(features, params.batch_size)
    head = new_head(params, features, seed, device).train()
    iterations = len(features) // batch_size
    optimiser = HeadOptimiser(params, head, params.epochs * iterations, weight_decay=params.weight_decay)
    sampler = PatchSampler(params, features, seed, device)
    order = torch_stream(seed, "simplenet", "order")
    log = []
    with track("simplenet", params.epochs, "epochs") as advance:
        for epoch in range(params.epochs):
            losses = []
            # Batches of equal size (within one): none is too small for batch statistics.
            shuffled = torch.randperm(len(features), generator=order)
            for images in shuffled.tensor_split(iterations):
                draw = sampler.draw(images)
                with mixed_precision(device):
                    loss = patch_losses(head(draw.patches, draw.noise), params.margin).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.detach())
            log.append({"epoch": epoch, "loss": float(torch.stack(losses).mean())})
            advance(1)
    return Fit(SimpleNetDetector(head.eval()), log=log)
