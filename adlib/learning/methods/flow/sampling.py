"""What every method on DifferNet's flow shares: its start, its batches, its optimiser and its detector."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from adlib.base.rng import numpy_stream, torch_stream
from adlib.config.methods import FlowHead
from adlib.data.rows import FeatureView
from adlib.learning.heads.flow import Flow, latent_scores, likelihood_losses
from adlib.learning.methods.contract import Scores
from adlib.learning.methods.epochs import ScheduledOptimiser
from adlib.learning.methods.statistics import feature_statistics


@dataclass(frozen=True)
class FlowDetector:
    """A trained flow: the image's score is the mean over its views; `patch` are the views' own scores.

    `likelihood` scores a view by its negative log-likelihood (CoMet eq. 12) instead of `mean(z^2)`.
    """

    flow: Flow
    likelihood: bool

    @torch.inference_mode()
    def score(self, patches: Tensor) -> Scores:
        """Score `(B, K, D)`, views where other methods have patches: image `(B,)`, views `(B, K)`."""
        view = self.view_scores(patches)
        return Scores(view.mean(dim=1), view)

    def view_scores(self, views: Tensor) -> Tensor:
        """Scores of the views alone, differentiable: `(B, K, D)` to `(B, K)`."""
        z, log_det = self.flow.eval()(views)
        return likelihood_losses(z, log_det) if self.likelihood else latent_scores(z)

    def state(self) -> dict[str, Tensor]:
        """Weights, permutations and feature statistics."""
        return {**self.flow.state_dict(), "likelihood": torch.tensor(self.likelihood)}

    @staticmethod
    def from_state(state: dict[str, Tensor]) -> "FlowDetector":
        """Rebuild from `state()`; widths follow from the tensors."""
        blocks, dim = state["permutations"].shape
        hidden = len(state["blocks.0.subnet1.0.bias"])
        flow = Flow(dim, blocks, hidden, float(state["clamp"]))
        flow.load_state_dict({name: tensor for name, tensor in state.items() if name != "likelihood"})
        return FlowDetector(flow.to(state["mean"].device).eval(), bool(state["likelihood"]))


def new_flow(params: FlowHead, features: FeatureView, seed: int, device: torch.device) -> Flow:
    """A fresh flow with the training features' statistics."""
    generator = torch_stream(seed, "flow", "init")
    flow = Flow(features.width, params.blocks, params.hidden, params.clamp, generator).to(device)
    mean, std = feature_statistics(features, device)
    flow.mean.copy_(mean)
    flow.std.copy_(std)
    return flow


def flow_optimiser(params: FlowHead, flow: Flow, steps: int, *, weight_decay: float) -> ScheduledOptimiser:
    """The head's optimiser; Adam with DifferNet's momenta."""
    return ScheduledOptimiser(
        params.optimiser, flow.parameters(), steps, annealed=params.annealed, weight_decay=weight_decay,
        lr=params.lr, betas=params.betas, eps=params.eps,
    )  # fmt: skip


class ViewDraw(NamedTuple):
    """Random views of a batch: `images` `(B,)` are positions in the training set, `views` is `(B, V, D)`."""

    images: Tensor
    views: Tensor


class ViewSampler:
    """Draws random views of given images, without repetition: the rotations of training."""

    def __init__(self, params: FlowHead, features: FeatureView, seed: int, device: torch.device) -> None:
        self.features, self.device = features, device
        self.count = min(params.views_per_image, features.patches)
        self._lots = numpy_stream(seed, "flow", "views")

    def draw(self, images: Tensor) -> ViewDraw:
        """Views of the images at positions `(B,)`."""
        rows = images.numpy()
        lots = self._lots.random((len(rows), self.features.patches), dtype=np.float32)
        chosen = np.argpartition(lots, self.count - 1, axis=1)[:, : self.count]
        return ViewDraw(images, self.features.sampled_batch(rows, chosen, self.device))
