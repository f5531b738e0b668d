"""CoMet-SN: CoMet's strategy over SimpleNet's head, started from a density prior (CoMet 4.5)."""

from dataclasses import replace

import torch

from adlib.features.store import FeatureView
from adlib.methods.detector import Fit
from adlib.methods.distances import with_distances
from adlib.methods.simplenet_learner import fit_by_comet, start
from adlib.methods.twins import PaintedCopies
from adlib.schema import CometSettings


def fit_comet_sn(
    settings: CometSettings,
    features: FeatureView,
    seed: int,
    device: torch.device,
    painted: FeatureView | None = None,
) -> Fit:
    """Train adaptor and discriminator by CoMet; `painted` are the training images' painted copies."""
    comet, params, kappa = settings.comet, settings.head, settings.kappa
    copies = None if painted is None else PaintedCopies(comet.painted, painted)
    begun = start(comet, params, kappa, features, seed, device, copies)
    fit = fit_by_comet(begun, comet, params, kappa, features, seed, device, name="comet-sn")
    if not comet.distances.enabled:
        return fit
    detector = with_distances(comet.distances, params, features, begun, seed, device)
    return replace(fit, detector=detector)
