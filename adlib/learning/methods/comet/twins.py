"""Painted twins: patches of copies with painted defects, which the discriminator is to call anomalous.

Not in the papers. Noise on features (CoMet eq. 14) leaves directions that a real defect takes untouched; a
painted defect moves a patch as the backbone would move it. Only patches that paint moved far count: the
others still look normal, and calling them anomalous costs more than it brings (docs/lab/painted.md).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from adlib.base.rng import torch_stream
from adlib.config.methods import PaintedParams
from adlib.data.rows import FeatureView

BATCH = 32


@dataclass(frozen=True)
class PaintedCopies:
    """What makes painted twins: the settings, and features of the training images' copies, in their order."""

    params: PaintedParams
    features: FeatureView


class PaintedTwins:
    """Draws patches of painted copies, of all images alike: a batch sees more kinds of defect than images.

    Attributes:
        patches: `(T, D)`, those that paint moved far.
        images: `(T,)`, positions of their originals in the training set.
        weights: `(T,)`, the trust in those.

    Args:
        copies: settings and features.
        originals: the training set.
        std: `(D,)`, the channels' unit of distance; on the device where the batches go.
        trust: `(S,)` weights of the training images; a doubted image's twins are drawn less often.
        seed: of the draws.
    """

    def __init__(
        self, copies: PaintedCopies, originals: FeatureView, std: Tensor, trust: Tensor, seed: int
    ) -> None:
        self.share = copies.params.share
        found, counts = [], []
        pairs = zip(
            copies.features.batches(BATCH, std.device), originals.batches(BATCH, std.device), strict=True
        )
        for after, before in pairs:
            # NaN, where nothing is painted, is not far.
            far = ((after - before) / std).square().mean(dim=2).sqrt() >= copies.params.distance
            found.append(after[far])
            counts.append(far.sum(dim=1).cpu())
        self.patches = torch.cat(found)
        self.images = torch.arange(len(originals)).repeat_interleave(torch.cat(counts))
        self.weights = trust[self.images]
        self._draws = torch_stream(seed, "painted", "patches")

    def draw(self, images: int, count: int) -> Tensor | None:
        """Twins for a batch, with repetition: `(images, count, D)`; None where paint moved no patch far."""
        if not len(self.patches):
            return None
        lots = torch.multinomial(self.weights, images * count, replacement=True, generator=self._draws)
        return self.patches[lots.to(self.patches.device)].unflatten(0, (images, count))
