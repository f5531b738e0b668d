"""DifferNet (Rudolph et al. 2021) on cached views: every training image is trusted."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adlib.features.store import FeatureView
from adlib.heads.flow import likelihood_losses
from adlib.methods.detector import Fit
from adlib.methods.epochs import train_epochs
from adlib.methods.flow_head import FlowDetector, ViewSampler, flow_optimiser, new_flow
from adlib.rng import torch_stream
from adlib.schema import FlowHead


def fit_differnet(params: FlowHead, features: FeatureView, seed: int, device: torch.device) -> Fit:
    """Maximise the likelihood of the training views for a fixed number of epochs."""
    flow = new_flow(params, features, seed, device).train()
    iterations = max(1, len(features) // params.batch_size)
    optimiser = flow_optimiser(params, flow, params.epochs * iterations, weight_decay=params.weight_decay)
    sampler = ViewSampler(params, features, seed, device)
    order = torch_stream(seed, "differnet", "order")

    def batches() -> Sequence[Tensor]:
        return torch.randperm(len(features), generator=order).tensor_split(iterations)

    def loss(images: Tensor) -> Tensor:
        return likelihood_losses(*flow(sampler.draw(images).views)).mean()

    log = train_epochs("differnet", params.epochs, batches, loss, optimiser)
    return Fit(FlowDetector(flow.eval(), params.score == "likelihood"), log=log)
