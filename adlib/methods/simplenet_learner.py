"""SimpleNet's head as CoMet trains it: what CoMet-SN and CoZAD share (CoMet 4.5, CoZAD 4.4)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from adlib.confidence import weighted_mean
from adlib.features.store import FeatureView
from adlib.heads.simplenet import SimpleNet, hinge, patch_losses
from adlib.maml import ParamDict
from adlib.methods.comet import train_comet
from adlib.methods.detector import Fit
from adlib.methods.epochs import AnnealedAdam
from adlib.methods.prior import density_prior, no_prior
from adlib.methods.simplenet_head import (
    Draw,
    PatchSampler,
    SimpleNetDetector,
    check_trainable,
    head_optimiser,
    new_head,
)
from adlib.schema import CometParams, SimpleNetHead

CONFIDENCE_BATCH = 32
BatchTerm = Callable[[ParamDict, Draw], Tensor]


@dataclass(frozen=True)
class SimpleNetLearner:
    """SimpleNet's head as CoMet trains it.

    Attributes:
        module: adaptor and discriminator.
        params: margin, learning rates.
        features: the training set.
        sampler: draws patches and their noise.
        patch_trust: `(S, C)` weights of the sampler's candidates.
        batch_term: a loss of theta and the batch as a whole, or None. It is added to the loss of every image:
            as the images' weights are normalised, their mean takes it over unchanged.
    """

    module: SimpleNet
    params: SimpleNetHead
    features: FeatureView
    sampler: PatchSampler
    patch_trust: Tensor
    batch_term: BatchTerm | None = None

    def draw(self, images: Tensor) -> Draw:
        """Random patches of `images` with the noise of their twins."""
        return self.sampler.draw(images)

    def losses(self, theta: ParamDict, batch: Draw, *, update_statistics: bool) -> Tensor:
        """The truncated L1 loss (eq. 15) of every image: `(B,)`, a mean over patches weighted by trust."""
        state = dict(theta)
        if not update_statistics:
            state |= {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        pair = functional_call(self.module.train(), state, (batch.patches, batch.noise))
        losses = patch_losses(pair, self.params.margin)
        trust = self.patch_trust[batch.images[:, None], batch.columns].to(losses.device)
        losses = weighted_mean(losses, trust)
        return losses if self.batch_term is None else losses + self.batch_term(theta, batch)

    def scores(self, theta: ParamDict, batch: Draw) -> Tensor:
        """The hinge of the drawn patches, averaged: `(B,)`, at running statistics."""
        normality = functional_call(self.module.eval(), theta, (batch.patches,))
        return hinge(normality, self.params.margin).mean(dim=1)

    @torch.inference_mode()
    def all_scores(self) -> Tensor:
        """The hinge averaged over all patches of every training image: `(S,)`."""
        head = self.module.eval()
        batches = self.features.batches(CONFIDENCE_BATCH, self.sampler.device)
        return torch.cat([hinge(head(batch), self.params.margin).mean(dim=1) for batch in batches]).cpu()

    def optimiser(self, steps: int, *, weight_decay: float | None) -> AnnealedAdam:
        """Adam with the head's two rates."""
        decay = self.params.weight_decay if weight_decay is None else weight_decay
        return head_optimiser(self.params, self.module, steps, weight_decay=decay)


def fit_by_comet(
    comet: CometParams,
    params: SimpleNetHead,
    kappa: float,
    features: FeatureView,
    seed: int,
    device: torch.device,
    *,
    name: str,
    batch_term: Callable[[SimpleNet], BatchTerm] | None = None,
    hard: bool = False,
) -> Fit:
    """Train adaptor and discriminator by CoMet.

    Args:
        comet: the strategy and the density prior.
        params: the head and its learning rates.
        kappa: eq. 2.
        features: the training set.
        seed: of every draw.
        device: where to train.
        name: shown beside the progress bar.
        batch_term: makes a further loss of the batch for the fresh head; None for CoMet-SN.
        hard: leave doubted images out instead of weighing them (`adlib.methods.comet.train_comet`).

    Raises:
        UserError: too few training images.
    """
    # The prior compares an image with at least two others, and no task may be empty.
    batch_size = check_trainable(features, comet.batch_size, at_least=max(3, comet.tasks))
    head = new_head(params, features, seed, device)
    if comet.prior.enabled:
        prior = density_prior(comet.prior, kappa, comet.floor, features, head.mean, head.std, seed)
    else:
        prior = no_prior(features)
    sampler = PatchSampler(params, features, seed, device, prior.positions)
    term = None if batch_term is None else batch_term(head)
    learner = SimpleNetLearner(head, params, features, sampler, prior.patch, term)
    strategy = comet.model_copy(update={"batch_size": batch_size})
    trained = train_comet(
        learner, strategy, kappa, prior.image, seed=seed, device=device, name=name, hard=hard
    )
    return Fit(
        SimpleNetDetector(head.eval()),
        trained.weights,
        trained.scores,
        suspicion=prior.suspicion if comet.prior.enabled else trained.scores,
        log=trained.log,
    )
