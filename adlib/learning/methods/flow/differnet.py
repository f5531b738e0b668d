"""DifferNet (Rudolph et al. 2021) on cached views: every training image is trusted."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adlib.base.rng import torch_stream
from adlib.config.methods import FlowHead
from adlib.data.rows import FeatureView
from adlib.learning.heads.flow import likelihood_losses
from adlib.learning.methods.contract import Fit
from adlib.learning.methods.epochs import train_epochs
from adlib.learning.methods.flow.sampling import FlowDetector, ViewSampler, flow_optimiser, new_flow


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
