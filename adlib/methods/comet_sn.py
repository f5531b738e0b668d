"""CoMet-SN: CoMet's strategy over SimpleNet's head, started from a density prior (CoMet 4.5)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from adlib.confidence import weighted_mean
from adlib.config import CometSettings, SimpleNetHead
from adlib.features.store import FeatureView
from adlib.heads.simplenet import SimpleNet, hinge, patch_losses
from adlib.maml import ParamDict
from adlib.methods.comet import train_comet
from adlib.methods.detector import Fit
from adlib.methods.prior import density_prior, no_prior
from adlib.methods.simplenet_head import (
    Draw,
    HeadOptimiser,
    PatchSampler,
    SimpleNetDetector,
    check_trainable,
    new_head,
)

CONFIDENCE_BATCH = 32


def fit_comet_sn(settings: CometSettings, features: FeatureView, seed: int, device: torch.device) -> Fit:
    """Train adaptor and discriminator by CoMet."""
    comet, params = settings.comet, settings.head
    # The prior compares an image with at least two others, and no task may be empty.
    batch_size = check_trainable(features, comet.batch_size, at_least=max(3, comet.tasks))
    head = new_head(params, features, seed, device)
    if comet.prior.enabled:
        prior = density_prior(comet.prior, settings.kappa, comet.floor, features, head.mean, head.std, seed)
    else:
        prior = no_prior(features)
    learner = SimpleNetLearner(
        head, params, features, PatchSampler(params, features, seed, device, prior.positions), prior.patch
    )
    trained = train_comet(
        learner,
        comet.model_copy(update={"batch_size": batch_size}),
        settings.kappa,
        prior.image,
        seed=seed,
        device=device,
        name="comet-sn",
    )
    return Fit(
        SimpleNetDetector(head.eval()),
        trained.weights,
        trained.scores,
        suspicion=prior.suspicion if comet.prior.enabled else trained.scores,
        log=trained.log,
    )


@dataclass(frozen=True)
class SimpleNetLearner:
    """SimpleNet's head as CoMet trains it.

    Attributes:
        module: adaptor and discriminator.
        params: margin, learning rates.
        features: the training set.
        sampler: draws patches and their noise.
        patch_trust: `(S, C)` weights of the sampler's candidates.
    """

    module: SimpleNet
    params: SimpleNetHead
    features: FeatureView
    sampler: PatchSampler
    patch_trust: Tensor

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
        return weighted_mean(losses, trust)

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

    def optimiser(self, steps: int, *, weight_decay: float | None) -> HeadOptimiser:
        """Adam with the head's two rates."""
        decay = self.params.weight_decay if weight_decay is None else weight_decay
        return HeadOptimiser(self.params, self.module, steps, weight_decay=decay)
