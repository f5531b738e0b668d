"""CoMet-NF: CoMet's strategy over DifferNet's flow (CoMet 4.4)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from adlib.base.errors import UserError
from adlib.config.methods import CometNfSettings, FlowHead
from adlib.data.rows import FeatureView
from adlib.learning.equations.maml import ParamDict
from adlib.learning.heads.flow import Flow, latent_scores, likelihood_losses
from adlib.learning.methods.comet.strategy import train_comet
from adlib.learning.methods.contract import Fit
from adlib.learning.methods.epochs import ScheduledOptimiser
from adlib.learning.methods.flow.sampling import FlowDetector, ViewDraw, ViewSampler, flow_optimiser, new_flow

CONFIDENCE_BATCH = 32


def fit_comet_nf(settings: CometNfSettings, features: FeatureView, seed: int, device: torch.device) -> Fit:
    """Train the flow by CoMet.

    Raises:
        UserError: fewer training images than tasks.
    """
    comet, params, S = settings.comet, settings.head, len(features)
    if comet.tasks > S:
        raise UserError(f"training set: at least {comet.tasks} images are needed, one a task, got {S}")
    flow = new_flow(params, features, seed, device)
    trained = train_comet(
        FlowLearner(flow, params, features, ViewSampler(params, features, seed, device)),
        comet.model_copy(update={"batch_size": min(comet.batch_size, S)}),
        settings.kappa,
        torch.ones(S),
        seed=seed,
        device=device,
        name="comet-nf",
    )
    detector = FlowDetector(flow.eval(), params.score == "likelihood")
    return Fit(detector, trained.weights, trained.scores, suspicion=trained.scores, log=trained.log)


@dataclass(frozen=True)
class FlowLearner:
    """DifferNet's flow as CoMet trains it.

    Attributes:
        module: the flow; it has no batch statistics that a loss could move.
        params: learning rate and momenta.
        features: the training set.
        sampler: draws views.
    """

    module: Flow
    params: FlowHead
    features: FeatureView
    sampler: ViewSampler

    def draw(self, images: Tensor, *, twins: bool = True) -> ViewDraw:
        """Random views of `images`; a flow needs no twins."""
        return self.sampler.draw(images)

    def losses(self, theta: ParamDict, batch: ViewDraw, *, update_statistics: bool) -> Tensor:
        """The negative log-likelihood (eq. 11) of every image, a mean over its views: `(B,)`."""
        z, log_det = functional_call(self.module, theta, (batch.views,))
        return likelihood_losses(z, log_det).mean(dim=1)

    def scores(self, theta: ParamDict, batch: ViewDraw) -> Tensor:
        """`mean(z^2)` over the drawn views: `(B,)`."""
        z, _ = functional_call(self.module, theta, (batch.views,))
        return latent_scores(z).mean(dim=1)

    @torch.inference_mode()
    def all_scores(self) -> Tensor:
        """`mean(z^2)` over all views of every training image: `(S,)`."""
        batches = self.features.batches(CONFIDENCE_BATCH, self.sampler.device)
        return torch.cat([latent_scores(self.module(views)[0]).mean(dim=1) for views in batches]).cpu()

    def optimiser(self, steps: int, *, weight_decay: float | None) -> ScheduledOptimiser:
        """The flow's own."""
        decay = self.params.weight_decay if weight_decay is None else weight_decay
        return flow_optimiser(self.params, self.module, steps, weight_decay=decay)
