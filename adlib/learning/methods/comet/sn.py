"""CoMet-SN: CoMet's strategy over SimpleNet's head, started from a density prior (CoMet 4.5)."""

from dataclasses import replace

import torch
from torch import Tensor

from adlib.config.methods import CometSettings
from adlib.data.rows import FeatureView
from adlib.learning.methods.comet.distances import with_distances
from adlib.learning.methods.comet.simplenet import finished, prepare
from adlib.learning.methods.comet.strategy import train_comet
from adlib.learning.methods.comet.twins import PaintedCopies
from adlib.learning.methods.contract import Fit, score_images


def fit_comet_sn(
    settings: CometSettings,
    features: FeatureView,
    seed: int,
    device: torch.device,
    painted: FeatureView | None = None,
) -> Fit:
    """Train adaptor and discriminator by CoMet; `painted` are the training images' painted copies."""
    comet, kappa = settings.comet, settings.kappa
    copies = None if painted is None else PaintedCopies(comet.painted, painted)
    start = prepare(comet, settings.head, kappa, features, seed, device, copies)
    trained = train_comet(
        start.learner, start.strategy, kappa, start.prior.image, seed=seed, device=device, name="comet-sn"
    )
    fit = finished(start, trained)
    if comet.distances.enabled:
        fit = replace(fit, detector=with_distances(comet.distances, start))
    scores = score_images(fit.detector, features, device)["image"]
    return replace(fit, suspicion=spreads(start.prior.suspicion) + spreads(scores))


def spreads(values: Tensor) -> Tensor:
    """How many interquartile ranges values `(S,)` lie above their median; zeros where there is no range.

    What density knew before training and what the detector knows after it find different dirt; in this unit
    their sum ranks training images better than either (docs/lab/triage.md).
    """
    lower, median, upper = torch.quantile(values, torch.tensor([0.25, 0.5, 0.75]))
    spread = upper - lower
    return (values - median) / torch.where(spread > 0, spread, torch.inf)
