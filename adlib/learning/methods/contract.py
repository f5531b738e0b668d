"""The contract between methods and the rest: what a fit returns and how a fitted detector scores."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from adlib.base.device import mixed_precision
from adlib.base.progress import track
from adlib.data.rows import FeatureView
from adlib.learning.methods.image_confidence import ImageConfidence

SCORING_BATCH = 8


class Scores(NamedTuple):
    """Anomaly scores of a batch, higher is more anomalous: `image` is `(B,)`, `patch` `(B, N)`."""

    image: Tensor
    patch: Tensor


class Detector(Protocol):
    """A fitted method."""

    def score(self, patches: Tensor) -> Scores:
        """Score a batch of patch features `(B, N, D)`, float32."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Everything `from_state` needs, as tensors."""
        ...


@dataclass(frozen=True)
class Fit:
    """A fitted detector and what training has to say about its images.

    Attributes:
        detector: ready to score.
        weights: `(S,)` confidence in each training image, in [0, 1], 0 under hard filtering alone;
            None for methods that trust all.
        train_scores: `(S,)` the confidence scores behind the weights.
        suspicion: `(S,)`, how suspect each training image is; higher is more so.
        log: one dict per epoch, for the report.
        confidence: how to weigh an image that did not train; None for methods that trust all.
    """

    detector: Detector
    weights: Tensor | None = None
    train_scores: Tensor | None = None
    suspicion: Tensor | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    confidence: ImageConfidence | None = None


@runtime_checkable
class NormalityDetector(Protocol):
    """A detector that can say `D(q)` of patches `(B, N, D)`, as `(B, N)`; confidence is taken from that."""

    def normality(self, patches: Tensor) -> Tensor: ...


@torch.inference_mode()
def image_weights(
    detector: Detector, confidence: ImageConfidence, images: FeatureView, device: torch.device
) -> Tensor:
    """The weights that training would have given to images, `(T,)` on the CPU; ones if it doubts none."""
    if not isinstance(detector, NormalityDetector):
        return torch.ones(len(images))
    batches = images.batches(SCORING_BATCH, device)
    return torch.cat([confidence.weight(detector.normality(batch)) for batch in batches]).cpu()


@torch.inference_mode()
def score_images(detector: Detector, images: FeatureView, device: torch.device) -> dict[str, Tensor]:
    """Raw scores of images, never normalised: `image` `(T,)` and `patch` `(T, N)`, float32 on the CPU."""
    parts = []
    with track("scoring", len(images), "images") as advance:
        for batch in images.batches(SCORING_BATCH, device):
            with mixed_precision(device):
                parts.append(detector.score(batch))
            advance(len(batch))
    image, patch = (torch.cat(column).float().cpu() for column in zip(*parts, strict=True))
    return {"image": image, "patch": patch}


@dataclass(frozen=True)
class AuxiliaryImages:
    """The images of one auxiliary category, training and test split together.

    Attributes:
        features: S images.
        anomalous: `(S,)` bool, the images' labels.
        masks: `(S, N)` bool, the masks at patch resolution (`anomaly_clip.patch_mask`); None where the
            category has no masks.
    """

    features: FeatureView
    anomalous: np.ndarray
    masks: np.ndarray | None

    @property
    def normals(self) -> FeatureView:
        """The normal images alone, for methods that learn from normals (CoZAD)."""
        return self.features.subset(np.flatnonzero(~self.anomalous))
