"""DifferNet (Rudolph et al. 2021) on cached views: every training image is trusted."""

import torch

from adlib.features.store import FeatureView
from adlib.heads.flow import likelihood_losses
from adlib.methods.detector import Fit
from adlib.methods.flow_head import FlowDetector, FlowOptimiser, ViewSampler, new_flow
from adlib.progress import track
from adlib.rng import torch_stream
from adlib.schema import FlowHead


def fit_differnet(params: FlowHead, features: FeatureView, seed: int, device: torch.device) -> Fit:
    """Maximise the likelihood of the training views for a fixed number of epochs."""
    flow = new_flow(params, features, seed, device).train()
    iterations = max(1, len(features) // params.batch_size)
    optimiser = FlowOptimiser(params, flow, params.epochs * iterations, weight_decay=params.weight_decay)
    sampler = ViewSampler(params, features, seed, device)
    order = torch_stream(seed, "differnet", "order")
    log = []
    with track("differnet", params.epochs, "epochs") as advance:
        for epoch in range(params.epochs):
            losses = []
            shuffled = torch.randperm(len(features), generator=order)
            for images in shuffled.tensor_split(iterations):
                loss = likelihood_losses(*flow(sampler.draw(images).views)).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.detach())
            log.append({"epoch": epoch, "loss": float(torch.stack(losses).mean())})
            advance(1)
    return Fit(FlowDetector(flow.eval(), params.score == "likelihood"), log=log)
