"""CoMet: soft confident learning and meta-learning over SimpleNet's head (Aqeel et al., eq. 1-9).

per epoch                 t from all training images                                  eq. 2
  per meta-iteration      lambda(Sigma) from the recent losses                         eq. 4, 5
    per task T_i          theta' = theta - alpha grad L_SCL(images of T_i, theta)      eq. 6, 7
                          meta loss += L_SCL(images of other tasks, theta')            eq. 9
    theta <- theta - beta grad (meta loss), through the inner steps                    eq. 8
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from adlib.confidence import LossWindow, iqr_threshold, threshold_weights, weighted_mean
from adlib.config import CometParams, CometSettings
from adlib.device import mixed_precision
from adlib.features.store import FeatureView
from adlib.heads.simplenet import SimpleNet, hinge, patch_losses
from adlib.maml import ParamDict, TaskBatches, adapt, squared_norm
from adlib.methods.detector import Fit
from adlib.methods.prior import Prior, density_prior
from adlib.methods.simplenet_head import (
    Draw,
    HeadOptimiser,
    PatchSampler,
    SimpleNetDetector,
    check_trainable,
    new_head,
)
from adlib.progress import track
from adlib.rng import torch_stream

CONFIDENCE_BATCH = 32


def fit_comet(settings: CometSettings, features: FeatureView, seed: int, device: torch.device) -> Fit:
    """Train adaptor and discriminator by CoMet for a fixed number of epochs."""
    comet, params = settings.comet, settings.head
    batch_size = check_trainable(features, comet.batch_size)
    head = new_head(params, features, seed, device)
    prior = None
    if comet.prior.enabled:
        prior = density_prior(comet.prior, settings.kappa, comet.floor, features, seed, device)
    sampler = PatchSampler(params, features, seed, device, None if prior is None else prior.positions)
    tasks = TaskBatches(len(features), comet.tasks, batch_size, torch_stream(seed, "comet", "tasks"))
    # ||theta||^2 of eq. 6 takes the place of the optimiser's weight decay.
    optimiser = HeadOptimiser(params, head, comet.epochs * tasks.iterations, weight_decay=0.0)
    window = LossWindow(comet.window, comet.lambda0, comet.gamma)
    log = []
    with track("comet-sn", comet.epochs, "epochs") as advance:
        for epoch in range(comet.epochs):
            scores = confidence_scores(head, features, params.margin, device)
            loss = SclLoss(head, params.margin, iqr_threshold(scores, settings.kappa), comet.floor, prior)
            for batches in tasks.epoch():
                strength = window.strength()
                optimiser.zero_grad()
                for inner, outer in batches:
                    with mixed_precision(device):
                        losses = meta_losses(loss, comet, strength, sampler.draw(inner), sampler.draw(outer))
                    (losses.val / len(batches)).backward()
                    window.add(float(losses.train), float(losses.val.detach()))
                optimiser.step()
            log.append({"epoch": epoch, "threshold": loss.threshold, **window.summary()})
            advance(1)
    scores = confidence_scores(head, features, params.margin, device)
    weights = threshold_weights(scores, iqr_threshold(scores, settings.kappa), comet.floor)
    if prior is not None:
        weights = weights * prior.image
    return Fit(SimpleNetDetector(head.eval()), weights, scores, log)


class MetaLosses(NamedTuple):
    """Losses of one task: `train` at theta, and `val` at theta', differentiable in theta."""

    train: Tensor
    val: Tensor


def meta_losses(loss: "SclLoss", comet: CometParams, strength: float, inner: Draw, outer: Draw) -> MetaLosses:
    """Adapt to a task (eq. 7), then measure the adapted parameters on the other tasks (eq. 9)."""
    inner_losses: list[Tensor] = []

    def inner_loss(params: ParamDict) -> Tensor:
        inner_losses.append(loss(params, inner, strength, update_statistics=False))
        return inner_losses[-1]

    theta: ParamDict = {}
    theta.update(loss.head.named_parameters())
    adapted = adapt(theta, inner_loss, comet.inner_lr, comet.inner_steps, comet.second_order)
    return MetaLosses(inner_losses[0].detach(), loss(adapted, outer, strength, update_statistics=True))


@dataclass(frozen=True)
class SclLoss:
    """The soft confident learning loss as a function of the head's parameters, CoMet eq. 6 and 9.

    `sum_i w_i L_i / sum_i w_i + lambda ||theta||^2`: the weights follow the parameters, but no gradient
    flows through them.
    """

    head: SimpleNet
    margin: float
    threshold: float
    floor: float
    prior: Prior | None = None

    def __call__(self, params: ParamDict, draw: Draw, strength: float, *, update_statistics: bool) -> Tensor:
        """The loss of a batch; without `update_statistics` BatchNorm's buffers are left alone."""
        state = dict(params)
        if not update_statistics:
            state |= {name: buffer.clone() for name, buffer in self.head.named_buffers()}
        pair = functional_call(self.head.train(), state, (draw.patches, draw.noise))
        losses, weights = patch_losses(pair, self.margin), self.weights(params, draw)
        if self.prior is None:
            of_images = losses.mean(dim=1)
        else:
            trusted = self.prior.patch[draw.images[:, None], draw.columns].to(losses.device)
            of_images = weighted_mean(losses, trusted)
            weights = weights * self.prior.image[draw.images].to(losses.device)
        return weighted_mean(of_images, weights) + strength * squared_norm(params)

    @torch.no_grad()
    def weights(self, params: ParamDict, draw: Draw) -> Tensor:
        """`w_i` of the batch's images at `params`, CoMet eq. 1: `(B,)`."""
        normality = functional_call(self.head.eval(), params, (draw.patches,))
        return threshold_weights(hinge(normality, self.margin).mean(dim=1), self.threshold, self.floor)


@torch.inference_mode()
def confidence_scores(head: SimpleNet, features: FeatureView, margin: float, device: torch.device) -> Tensor:
    """The non-negative score `a_i` of every training image: `(S,)`, the hinge averaged over its patches."""
    head.eval()
    parts = [hinge(head(batch), margin).mean(dim=1) for batch in features.batches(CONFIDENCE_BATCH, device)]
    return torch.cat(parts).float().cpu()
