"""CoMet-SN: CoMet's strategy over SimpleNet's head, started from a density prior (CoMet 4.5)."""

import torch

from adlib.features.store import FeatureView
from adlib.methods.detector import Fit
from adlib.methods.simplenet_learner import fit_by_comet
from adlib.schema import CometSettings


def fit_comet_sn(settings: CometSettings, features: FeatureView, seed: int, device: torch.device) -> Fit:
    """Train adaptor and discriminator by CoMet."""
    return fit_by_comet(
        settings.comet, settings.head, settings.kappa, features, seed, device, name="comet-sn"
    )
