"""What a method that learns from an auxiliary set is given: features, labels and masks of one category."""

from dataclasses import dataclass

import numpy as np

from adlib.features.store import FeatureView


@dataclass(frozen=True)
class AuxiliaryImages:
    """The images of one auxiliary category, training and test split together.

    Attributes:
        features: S images.
        anomalous: `(S,)` bool, the images' labels.
        masks: `(S, N)` bool, the masks at patch resolution (`adlib.losses.patch_mask`); None where the
            category has no masks.
    """

    features: FeatureView
    anomalous: np.ndarray
    masks: np.ndarray | None

    @property
    def normals(self) -> FeatureView:
        """The normal images alone, for methods that learn from normals (CoZAD)."""
        return self.features.subset(np.flatnonzero(~self.anomalous))
