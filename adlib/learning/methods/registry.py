"""The methods that params.yaml can name. A new one is a folder or module beside this, and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adlib.config.workspace import Rows
from adlib.data.rows import FeatureView
from adlib.learning.methods.afclip.clip import fit_afclip, restore_afclip
from adlib.learning.methods.afclip.detector import TokenDetector
from adlib.learning.methods.afclip.tokens import fit_af_tokens, restore_af_tokens
from adlib.learning.methods.comet.distances import restore_comet_sn
from adlib.learning.methods.comet.nf import fit_comet_nf
from adlib.learning.methods.comet.sn import fit_comet_sn
from adlib.learning.methods.contract import Detector, Fit
from adlib.learning.methods.cozad.fit import fit_cozad
from adlib.learning.methods.cozad.mutual import restore, with_test_images
from adlib.learning.methods.cozad.zero_shot import fit_cozad_zero
from adlib.learning.methods.flow.differnet import fit_differnet
from adlib.learning.methods.flow.sampling import FlowDetector
from adlib.learning.methods.patchcore import PatchCore, fit_patchcore
from adlib.learning.methods.simplenet.fit import fit_simplenet
from adlib.learning.methods.simplenet.sampling import SimpleNetDetector


@dataclass(frozen=True, slots=True)
class Method:
    """How a method is fitted and restored.

    Attributes:
        fit: `(settings, features, seed, device)` to a fit, with the settings that its block of params.yaml
            names (`MethodBlock.settings`), and `painted=` features where it asks for them.
        from_state: rebuilds the detector from its tensors.
        rows: which kind of features it reads: patches (stage `features`) or rotated views (stage `views`).
    """

    fit: Callable[..., Fit]
    from_state: Callable[[dict[str, Tensor]], Detector]
    rows: Rows = "patches"


METHODS = {
    "simplenet": Method(fit_simplenet, SimpleNetDetector.from_state),
    "comet-sn": Method(fit_comet_sn, restore_comet_sn),
    "cozad": Method(fit_cozad, SimpleNetDetector.from_state),
    "patchcore": Method(fit_patchcore, PatchCore.from_state),
    "differnet": Method(fit_differnet, FlowDetector.from_state, rows="views"),
    "comet-nf": Method(fit_comet_nf, FlowDetector.from_state, rows="views"),
}


@dataclass(frozen=True, slots=True)
class AuxiliaryMethod:
    """How a method that learns from a labelled auxiliary set is fitted and restored.

    Attributes:
        fit: `(settings, images by category, seed, device)` to a fit; no image of the target is among them.
            A method on CLIP's tokens is given the tower as well (`clip=`, `blocks=`).
        from_state: rebuilds the detector from its tensors, with or without shots.
        few_shot: `(detector, patches (K, N, D) of K normal target images)` to a detector that compares with
            them; None for methods without shots.
        transductive: `(detector, unlabelled test images, block of params.yaml, seed, device)` to a detector
            that compares with them; None for methods without that variant.
        rows: which kind of features it reads: patches (stage `features`) or CLIP's tokens (stage `clip`).
    """

    fit: Callable[..., Fit]
    from_state: Callable[[dict[str, Tensor]], Detector]
    few_shot: Callable[[Any, Tensor], Detector] | None = None
    transductive: Callable[[Any, FeatureView, Any, int, torch.device], Detector] | None = None
    rows: Rows = "patches"


AUXILIARY_METHODS = {
    "af-tokens": AuxiliaryMethod(fit_af_tokens, restore_af_tokens, TokenDetector.with_shots),
    "afclip": AuxiliaryMethod(fit_afclip, restore_afclip, TokenDetector.with_shots, rows="tokens"),
    "cozad-zero": AuxiliaryMethod(fit_cozad_zero, restore, transductive=with_test_images),
}


def rows_of(method: str) -> Rows:
    """Which kind of features a method reads."""
    return (METHODS | AUXILIARY_METHODS)[method].rows
