"""CoZAD: CoMet's strategy over SimpleNet's head, with contrastive learning on the adapted features.

`L_total = L_SCL + lambda_cont L_batch-cont` (CoZAD eq. 4) takes the place of `L_SCL` in both loops. `cozad`
trains on the target's own images; the paper's zero-shot protocol is `adlib.learning.methods.cozad.zero_shot`.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from adlib.base.errors import UserError
from adlib.base.rng import torch_stream
from adlib.config.methods import ContrastiveParams, CozadSettings
from adlib.data.rows import FeatureView
from adlib.learning.equations.contrastive import contrastive_loss, nn_contrastive_loss
from adlib.learning.equations.maml import ParamDict
from adlib.learning.heads.simplenet import SimpleNet
from adlib.learning.methods.comet.simplenet import finished, prepare
from adlib.learning.methods.comet.strategy import train_comet
from adlib.learning.methods.contract import Fit
from adlib.learning.methods.simplenet.sampling import Draw


def fit_cozad(
    settings: CozadSettings,
    features: FeatureView,
    seed: int,
    device: torch.device,
    groups: Tensor | None = None,
) -> Fit:
    """Train adaptor and discriminator by CoMet on the total loss; `groups` are as in `train_comet`."""
    cozad, params, kappa = settings.cozad, settings.head, settings.kappa
    start = prepare(cozad, params, kappa, features, seed, device)
    contrast = None
    if cozad.contrastive.lambda_cont > 0:
        noise = torch_stream(seed, "cozad", "noise", device=device)
        contrast = BatchContrast(start.head, cozad.contrastive, params.sigma, noise)
    trained = train_comet(
        start.learner, start.strategy, kappa, start.prior.image, seed=seed, device=device, name="cozad",
        batch_term=contrast, hard=cozad.hard_filtering, groups=groups,
    )  # fmt: skip
    suspicion = start.prior.suspicion if cozad.prior.enabled else trained.scores
    return replace(finished(start, trained), suspicion=suspicion)


@dataclass(frozen=True)
class BatchContrast:
    """`lambda_cont L_batch-cont` of a batch's adapted features: eq. 1 or 2, then 3 and 4.

    Attributes:
        head: its feature statistics; the adaptor is taken from theta.
        params: temperature, neighbours, and how many embeddings a step may compare.
        sigma: of `delta ~ N(0, sigma^2 I)`.
        noise: draws delta.
    """

    head: SimpleNet
    params: ContrastiveParams
    sigma: float
    noise: torch.Generator

    def __call__(self, theta: ParamDict, batch: Draw) -> Tensor:
        """The mean of eq. 2 over the batch's patches (every n-th one if there are too many): a scalar."""
        patches = batch.patches.flatten(0, 1)
        patches = patches[:: -(-len(patches) // self.params.max_embeddings)]
        if len(patches) <= self.params.k_nn:
            raise UserError(
                f"methods.cozad.contrastive.k_nn: must be below the {len(patches)} patches of a step, "
                f"got {self.params.k_nn}; lower it, or raise batch_size or patches_per_image"
            )
        q = F.linear(self.head.standardise(patches), theta["adaptor.weight"])
        delta = torch.randn(q.shape, generator=self.noise, device=q.device, dtype=q.dtype) * self.sigma
        k, tau, chunk = self.params.k_nn, self.params.tau, self.params.chunk_size
        if k:
            losses = nn_contrastive_loss(q, q + delta, k, tau, chunk)
        else:
            losses = contrastive_loss(q, q + delta, tau, chunk)
        return self.params.lambda_cont * losses.mean()
