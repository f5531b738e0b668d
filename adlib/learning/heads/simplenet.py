"""SimpleNet's head: a linear adaptor and a discriminator over patch features (CoMet 4.5, CoZAD 4.4)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SimpleNet(nn.Module):
    """Adaptor G and discriminator D over standardised patch features.

    Args:
        dim: feature width D.
        hidden: width of the discriminator's hidden layer.
        generator: draws the initial weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, hidden: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        # Backbones differ in feature scale; one noise level fits all once features are standardised.
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.adaptor = nn.Linear(dim, dim, bias=False)
        self.hidden = nn.Linear(dim, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.out = nn.Linear(hidden, 1, bias=False)
        # The adaptor starts as the identity: the features arrive standardised and already informative.
        nn.init.eye_(self.adaptor.weight)
        nn.init.xavier_normal_(self.hidden.weight, generator=generator)
        nn.init.zeros_(self.hidden.bias)
        nn.init.xavier_normal_(self.out.weight, generator=generator)

    def standardise(self, features: Tensor) -> Tensor:
        """By the training features' statistics: `(..., D)` to `(..., D)`."""
        return (features - self.mean) / self.std

    def adapt(self, features: Tensor) -> Tensor:
        """`q = G(o)`, CoMet eq. 13: `(..., D)` to `(..., D)`."""
        return self.adaptor(self.standardise(features))

    def discriminate(self, adapted: Tensor) -> Tensor:
        """`D(q)`, positive for normal: `(..., D)` to `(...)`."""
        flat = adapted.flatten(0, -2)
        hidden = F.leaky_relu(self.norm(self.hidden(flat)), 0.2)
        # Scores near the margin, and the loss, would be rounded to the 8 bits of bfloat16.
        with torch.autocast(hidden.device.type, enabled=False):
            normality = self.out(hidden.to(self.out.weight.dtype))
        return normality.reshape(adapted.shape[:-1])

    def forward(self, features: Tensor, noise: Tensor | None = None, painted: Tensor | None = None) -> Tensor:
        """Normality of patches and, in training, of their twins.

        Args:
            features: `(B, P, D)`.
            noise: `(B, P, D)`, the epsilon of CoMet eq. 14; None when scoring.
            painted: `(B, P, D)`, features of further anomalous patches (`methods.comet.twins`), or None.

        Returns:
            `D(q)` as `(B, P)`; with noise `D` of `[q; q + noise]` as `(2, B, P)`, painted ones as a third
            row. D runs once over all: normalised separately, they would lose the cue that tells them apart.
        """
        adapted = self.adapt(features)
        if noise is None:
            return self.discriminate(adapted)
        further = [] if painted is None else [self.adapt(painted)]
        return self.discriminate(torch.stack([adapted, adapted + noise, *further]))


def anomaly_score(normality: Tensor) -> Tensor:
    """`a = -D(G(o))`: CoMet eq. 16, whose sign got lost."""
    return -normality


def hinge(normality: Tensor, margin: float) -> Tensor:
    """`max(0, th - D(q))`: a patch's loss for being called normal, and CoMet's confidence score."""
    return F.relu(margin - normality)


def patch_losses(normality: Tensor, margin: float, share: float = 0.0) -> Tensor:
    """Truncated L1 loss, CoMet eq. 15: `max(0, th - D(q)) + max(0, th + D(q-))`.

    Args:
        normality: `(2, B, P)`, D of `[q; q-]`, or `(3, B, P)` with D of painted twins.
        margin: th.
        share: in [0, 1], of the second term that falls on painted twins.

    Returns:
        `(B, P)`.
    """
    normal, perturbed, *painted = normality
    anomalous = hinge(-perturbed, margin)
    for twin in painted:
        anomalous = torch.lerp(anomalous, hinge(-twin, margin), share)
    return hinge(normal, margin) + anomalous
