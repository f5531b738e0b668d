"""The methods that params.yaml can name. A new one is a module, its block in `config.py` and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adlib.config.params import Params
from adlib.data.rows import FeatureView
from adlib.learning.methods.afclip.clip import fit_afclip, restore_afclip
from adlib.learning.methods.afclip.detector import TokenDetector
from adlib.learning.methods.afclip.tokens import fit_af_tokens, restore_af_tokens
from adlib.learning.methods.comet.distances import restore_comet_sn
from adlib.learning.methods.comet.nf import fit_comet_nf
from adlib.learning.methods.comet.sn import fit_comet_sn
from adlib.learning.methods.contract import AuxiliaryImages, Detector, Fit
from adlib.learning.methods.cozad.fit import fit_cozad
from adlib.learning.methods.cozad.mutual import among_themselves, restore
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
        settings: the parameters that its fit reads, and no others: they are the key of a stored fit.
        fit: `(settings, features, seed, device)` to a fit, and `painted=` features where
            `MethodsParams.painted` asks for them.
        from_state: rebuilds the detector from its tensors.
        views: whether its features are rotated views (stage `views`) instead of patches (stage `features`).
    """

    settings: Callable[[Params], Any]
    fit: Callable[..., Fit]
    from_state: Callable[[dict[str, Tensor]], Detector]
    views: bool = False


METHODS = {
    "simplenet": Method(lambda p: p.methods.simplenet, fit_simplenet, SimpleNetDetector.from_state),
    "comet-sn": Method(lambda p: p.comet_sn, fit_comet_sn, restore_comet_sn),
    "cozad": Method(lambda p: p.cozad, fit_cozad, SimpleNetDetector.from_state),
    "patchcore": Method(lambda p: p.methods.patchcore, fit_patchcore, PatchCore.from_state),
    "differnet": Method(lambda p: p.methods.differnet, fit_differnet, FlowDetector.from_state, views=True),
    "comet-nf": Method(lambda p: p.comet_nf, fit_comet_nf, FlowDetector.from_state, views=True),
}


@dataclass(frozen=True, slots=True)
class AuxiliaryMethod:
    """How a method that learns from a labelled auxiliary set is fitted and restored.

    Attributes:
        settings: as in `Method`.
        fit: `(settings, images by category, seed, device)` to a fit; no image of the target is among them.
        from_state: rebuilds the detector from its tensors, with or without shots.
        few_shot: `(detector, patches (K, N, D) of K normal target images)` to a detector that compares with
            them; None for methods without shots.
        transductive: `(detector, unlabelled test images, params, seed, device)` to a detector that compares
            with them; None for methods without that variant.
        clip: whether its features are CLIP's tokens (stage `clip`) instead of patches (stage `features`).
    """

    settings: Callable[[Params], Any]
    fit: Callable[[Any, Mapping[str, AuxiliaryImages], int, torch.device], Fit]
    from_state: Callable[[dict[str, Tensor]], Detector]
    few_shot: Callable[[Any, Tensor], Detector] | None = None
    transductive: Callable[[Any, FeatureView, Params, int, torch.device], Detector] | None = None
    clip: bool = False


AUXILIARY_METHODS = {
    "af-tokens": AuxiliaryMethod(
        lambda p: p.methods.af_tokens.model_copy(update={"shots": (0,)}),  # the fit is the same for all shots
        fit_af_tokens,
        restore_af_tokens,
        TokenDetector.with_shots,
    ),
    "afclip": AuxiliaryMethod(
        lambda p: p.afclip, fit_afclip, restore_afclip, TokenDetector.with_shots, clip=True
    ),
    "cozad-zero": AuxiliaryMethod(
        lambda p: p.cozad_zero,
        fit_cozad_zero,
        restore,
        transductive=lambda detector, images, p, seed, device: among_themselves(
            detector, images, p.methods.cozad_zero.transductive, seed, device
        ),
    ),
}


def on_clip(method: str) -> bool:
    """Whether a method's features are CLIP's tokens."""
    return method in AUXILIARY_METHODS and AUXILIARY_METHODS[method].clip


def features_folder(outputs: Path, category: str, method: str) -> Path:
    """Where a method's kind of features of a category lies below `outputs`, the target's or the auxiliary."""
    if on_clip(method):
        return outputs / "clip" / category / method
    return outputs / "features" / category
