"""CoMet-SN: CoMet's strategy over SimpleNet's head, started from a density prior (CoMet 4.5)."""

import torch

from adlib.features.store import FeatureView
from adlib.methods.detector import Fit
from adlib.methods.simplenet_learner import fit_by_comet
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
    copies = None if painted is None else PaintedCopies(settings.comet.painted, painted)
    return fit_by_comet(
        settings.comet, settings.head, settings.kappa, features, seed, device, name="comet-sn", copies=copies
    )
