"""`cozad-zero`, the paper's protocol: CoZAD learns once from an auxiliary set's normals, for all targets.

Two choices are not in the paper: features can be standardised by every image's own statistics, in training
and in scoring, and scores can be put on the image's own scale. Neither looks at more than one target image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from adlib.config.methods import CozadZeroSettings
from adlib.data.rows import FeatureView, StackedRows, join_views
from adlib.learning.heads.simplenet import SimpleNet, anomaly_score
from adlib.learning.methods.contract import AuxiliaryImages, Fit, Scores
from adlib.learning.methods.cozad.fit import fit_cozad
from adlib.learning.methods.simplenet.sampling import SimpleNetDetector


@dataclass(frozen=True)
class ZeroShotDetector:
    """A head from other images.

    Attributes:
        head: adaptor and discriminator.
        own_scale: the head sees features on every image's own scale.
        calibrated: patch scores are on the image's own scale.
    """

    head: SimpleNet
    own_scale: bool
    calibrated: bool

    def adapt(self, patches: Tensor) -> Tensor:
        """`q = G(o)` of whole images: `(B, N, D)` to `(B, N, D)`."""
        return self.head.eval().adapt(own_scale(patches) if self.own_scale else patches)

    @torch.inference_mode()
    def normality(self, patches: Tensor) -> Tensor:
        """`D(q)` of whole images: `(B, N, D)` to `(B, N)`."""
        return self.head.discriminate(self.adapt(patches))

    @torch.inference_mode()
    def score(self, patches: Tensor) -> Scores:
        """Score `(B, N, D)`; an image's score is its largest patch score."""
        patch = anomaly_score(self.normality(patches))
        patch = robust_deviations(patch.float()) if self.calibrated else patch
        return Scores(patch.amax(dim=1), patch)

    def state(self) -> dict[str, Tensor]:
        """Weights, statistics and the two choices."""
        choices = torch.tensor([self.own_scale, self.calibrated])
        return {**SimpleNetDetector(self.head).state(), "choices": choices}

    @staticmethod
    def from_state(state: dict[str, Tensor]) -> "ZeroShotDetector":
        """Rebuild from `state()`; other tensors are left alone."""
        head = SimpleNetDetector.from_state({k: v for k, v in state.items() if k in HEAD}).head
        return ZeroShotDetector(head, *state["choices"].tolist())


HEAD = frozenset(SimpleNet(1, 1).state_dict())


def fit_cozad_zero(
    settings: CozadZeroSettings, auxiliary: Mapping[str, AuxiliaryImages], seed: int, device: torch.device
) -> Fit:
    """Train on the normal images of all auxiliary categories together; their anomalies are not looked at."""
    views = [images.normals for images in auxiliary.values()]
    normals, own = join_views(views), settings.zero.standardise == "image"
    if own:
        normals = FeatureView(normals.ids, OwnScaleRows([normals.rows]), normals.index)
    groups = None
    if settings.zero.tasks_by == "category" and len(views) > 1:
        groups = torch.repeat_interleave(torch.tensor([len(view) for view in views]))
    fit = fit_cozad(settings, normals, seed, device, groups)
    assert isinstance(fit.detector, SimpleNetDetector)
    detector = ZeroShotDetector(fit.detector.head, own, settings.zero.calibrate == "image")
    return replace(fit, detector=detector)


class OwnScaleRows(StackedRows):
    """Rows of features, every image on its own scale."""

    def __getitem__(self, key: np.ndarray | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """As `StackedRows`, float32."""
        rows, patches = key if isinstance(key, tuple) else (key, None)
        images = own_scale(torch.from_numpy(super().__getitem__(rows.reshape(-1))).float()).numpy()
        return images if patches is None else np.take_along_axis(images, patches[..., None], axis=1)


def own_scale(patches: Tensor) -> Tensor:
    """Every image `(B, N, D)` less its own mean, over its own deviation, channel by channel."""
    std, mean = torch.std_mean(patches, dim=1, correction=0, keepdim=True)
    # As in `feature_statistics`: a channel that never varies stays at zero.
    return (patches - mean) / torch.where(std > 1e-6, std, 1.0)


def robust_deviations(scores: Tensor) -> Tensor:
    """Every image's scores `(B, N)` less their median, over their median absolute deviation (if not 0)."""
    centred = scores - scores.median(dim=1, keepdim=True).values
    spread = centred.abs().median(dim=1, keepdim=True).values
    return centred / torch.where(spread > 0, spread, 1.0)
