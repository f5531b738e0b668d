"""SimpleNet's head as CoMet trains it: what CoMet-SN and CoZAD share (CoMet 4.5, CoZAD 4.4)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from adlib.config.methods import CometParams, SimpleNetHead
from adlib.data.rows import FeatureView
from adlib.learning.equations.confidence import weighted_mean
from adlib.learning.equations.maml import ParamDict
from adlib.learning.heads.simplenet import SimpleNet, patch_losses
from adlib.learning.methods.comet.prior import Prior, density_prior, no_prior
from adlib.learning.methods.comet.strategy import Confidence
from adlib.learning.methods.comet.twins import PaintedCopies, PaintedTwins
from adlib.learning.methods.contract import Fit
from adlib.learning.methods.epochs import ScheduledOptimiser
from adlib.learning.methods.image_confidence import ImageConfidence, confidence_score
from adlib.learning.methods.simplenet.sampling import (
    Draw,
    PatchSampler,
    SimpleNetDetector,
    check_trainable,
    head_optimiser,
    new_head,
)

CONFIDENCE_BATCH = 32


@dataclass(frozen=True)
class SimpleNetLearner:
    """SimpleNet's head as CoMet trains it.

    Attributes:
        module: adaptor and discriminator.
        params: margin, learning rates.
        features: the training set.
        sampler: draws patches and their noise.
        patch_trust: `(S, C)` weights of the sampler's candidates.
        worst: fraction of an image's patches, those with the largest hinge, behind its confidence score.
        twins: draws painted twins; None: there are none.
    """

    module: SimpleNet
    params: SimpleNetHead
    features: FeatureView
    sampler: PatchSampler
    patch_trust: Tensor
    worst: float = 1.0
    twins: PaintedTwins | None = None

    def draw(self, images: Tensor, *, twins: bool = True) -> Draw:
        """Random patches of `images` with their twins."""
        drawn = self.sampler.draw(images, twins=twins)
        if self.twins is None or not twins:
            return drawn
        return drawn._replace(painted=self.twins.draw(len(images), self.sampler.count))

    def losses(self, theta: ParamDict, batch: Draw, *, update_statistics: bool) -> Tensor:
        """The truncated L1 loss (eq. 15) of every image: `(B,)`, a mean over patches weighted by trust."""
        state = dict(theta)
        if not update_statistics:
            state |= {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        drawn = (batch.patches, batch.noise, batch.painted)
        normality = functional_call(self.module.train(), state, drawn)
        losses = patch_losses(normality, self.params.margin, self.twins.share if self.twins else 0.0)
        trust = self.patch_trust[batch.images[:, None], batch.columns].to(losses.device)
        return weighted_mean(losses, trust)

    def scores(self, theta: ParamDict, batch: Draw) -> Tensor:
        """The hinge of the drawn patches, averaged over the worst: `(B,)`, at running statistics."""
        return self._confidence(functional_call(self.module.eval(), theta, (batch.patches,)))

    @torch.inference_mode()
    def all_scores(self) -> Tensor:
        """The same over all patches of every training image: `(S,)`."""
        head = self.module.eval()
        batches = self.features.batches(CONFIDENCE_BATCH, self.sampler.device)
        return torch.cat([self._confidence(head(batch)) for batch in batches]).cpu()

    def _confidence(self, normality: Tensor) -> Tensor:
        """`(B, P)` to `(B,)`."""
        return confidence_score(normality, self.params.margin, self.worst)

    def optimiser(self, steps: int, *, weight_decay: float | None) -> ScheduledOptimiser:
        """The head's own, with its two rates."""
        decay = self.params.weight_decay if weight_decay is None else weight_decay
        return head_optimiser(self.params, self.module, steps, weight_decay=decay)


@dataclass(frozen=True)
class Start:
    """Where training begins.

    Attributes:
        strategy: CoMet's settings; its batches are no larger than the training set.
        learner: a fresh head with the training features' statistics, and all that it trains on.
        prior: what density says of the training set.
        seed: of every draw.
        device: where to train.
    """

    strategy: CometParams
    learner: SimpleNetLearner
    prior: Prior
    seed: int
    device: torch.device

    @property
    def head(self) -> SimpleNet:
        """The head that is trained in place."""
        return self.learner.module


def prepare(
    comet: CometParams,
    params: SimpleNetHead,
    kappa: float,
    features: FeatureView,
    seed: int,
    device: torch.device,
    copies: PaintedCopies | None = None,
) -> Start:
    """Make a fresh head and look at the training set.

    Args:
        comet: the strategy.
        params: the head and its learning rates.
        kappa: eq. 2.
        features: the training set.
        seed: of every draw.
        device: where to train.
        copies: of the training images, with painted defects; None: noise alone makes twins.

    Raises:
        UserError: too few training images.
    """
    # Quartiles need two images, the prior compares one with two others, and no task may be empty.
    fewest = max(2, 3 * comet.prior.enabled, comet.tasks * comet.meta_learning)
    batch_size = check_trainable(features, comet.batch_size, at_least=fewest)
    head = new_head(params, features, seed, device)
    if comet.prior.enabled:
        prior = density_prior(comet.prior, kappa, comet.floor, features, head.mean, head.std, seed)
    else:
        prior = no_prior(features)
    twins = None if copies is None else PaintedTwins(copies, features, head.std, prior.image, seed)
    sampler = PatchSampler(params, features, seed, device, prior.positions)
    learner = SimpleNetLearner(head, params, features, sampler, prior.patch, comet.confidence_patches, twins)
    return Start(comet.model_copy(update={"batch_size": batch_size}), learner, prior, seed, device)


def finished(start: Start, trained: Confidence) -> Fit:
    """The fit of a head that `train_comet` has trained; nothing is said of the images' suspicion."""
    comet, confidence = start.strategy, None
    if comet.data_uncertainty:
        margin = start.learner.params.margin
        confidence = ImageConfidence(trained.threshold, margin, comet.confidence_patches, comet.floor)
    detector = SimpleNetDetector(start.head.eval())
    return Fit(detector, trained.weights, trained.scores, log=trained.log, confidence=confidence)
