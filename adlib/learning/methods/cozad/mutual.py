"""Mutual scoring: what few of the other test images have is anomalous (after MuSc, Li et al., ICLR 2024).

It is transductive: a score depends on all unlabelled test images, not on one alone. So it stands under a name
of its own (`cozad-zero/transductive`), to be compared with nothing that sees one image at a time. MuSc
compares all patches of CLIP; here they are CoZAD's adapted ones, and an image offers a random part of them.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from adlib.base.rng import numpy_stream
from adlib.config.methods import CozadZeroParams
from adlib.data.rows import FeatureView
from adlib.learning.methods.contract import SCORING_BATCH, Scores
from adlib.learning.methods.cozad.zero_shot import ZeroShotDetector

CELLS = 2**24  # distances at a time: 64 MiB


@dataclass(frozen=True)
class MutualDetector:
    """A zero-shot head whose adapted patches are compared with those of T images.

    Attributes:
        base: adapts the patches.
        bank: `(T, M, D)`, adapted.
        middles: `(T, D)`, the unadapted middle patch of each: an image is no witness for itself.
        share: fraction of the images, the nearest, whose mean distance is a patch's score.
    """

    base: ZeroShotDetector
    bank: Tensor
    middles: Tensor
    share: float

    @torch.inference_mode()
    def score(self, patches: Tensor) -> Scores:
        """Score `(B, N, D)` against the bank; an image's score is its largest patch score."""
        with torch.autocast(patches.device.type, enabled=False):
            own = (middle(patches)[:, None] == self.middles).all(dim=2)
            adapted = self.base.adapt(patches)
            patch = torch.stack(
                [mutual_scores(q, self.bank[~mine], self.share) for q, mine in zip(adapted, own, strict=True)]
            )
        return Scores(patch.amax(dim=1), patch)

    def state(self) -> dict[str, Tensor]:
        """That of the base, and the bank."""
        share = torch.tensor(self.share, dtype=torch.float64)
        return {**self.base.state(), "bank": self.bank, "marks": self.middles, "share": share}


def restore(state: dict[str, Tensor]) -> ZeroShotDetector | MutualDetector:
    """The detector of `state()`, with a bank or without."""
    base = ZeroShotDetector.from_state(state)
    if "bank" not in state:
        return base
    return MutualDetector(base, state["bank"], state["marks"], float(state["share"]))


@torch.inference_mode()
def with_test_images(
    base: ZeroShotDetector, images: FeatureView, block: CozadZeroParams, seed: int, device: torch.device
) -> MutualDetector:
    """A detector that compares with `images`, the unlabelled test images.

    Args:
        base: the zero-shot detector.
        images: at least two.
        block: its `transductive` says how many patches of each, and the share.
        seed: draws the patches.
        device: where to compute.
    """
    params, rng = block.transductive, numpy_stream(seed, "cozad-zero", "bank")
    bank, middles = [], []
    for batch in images.batches(SCORING_BATCH, device):
        chosen = [torch.from_numpy(rng.permutation(images.patches)[: params.bank]) for _ in batch]
        bank += [q[columns.to(device)] for q, columns in zip(base.adapt(batch), chosen, strict=True)]
        middles.append(middle(batch))
    return MutualDetector(base, torch.stack(bank), torch.cat(middles), params.share)


def mutual_scores(patches: Tensor, bank: Tensor, share: float) -> Tensor:
    """The mean of each patch's smallest distances to the images of a bank, one distance an image.

    Args:
        patches: `(N, D)` of one image.
        bank: `(T, M, D)` of T other images; a distance to an image is that to its nearest patch.
        share: fraction of the T distances that is averaged, in (0, 1].

    Returns:
        `(N,)`, >= 0.

    Raises:
        ValueError: no other image.
    """
    T, M, _ = bank.shape
    if not T:
        raise ValueError("bank: at least one other image is needed, got none")
    size = max(1, CELLS // (len(patches) * M))
    nearest = [_to_images(patches, part) for part in bank.split(size)]
    distances = torch.cat(nearest, dim=1)
    return distances.topk(math.ceil(share * T), dim=1, largest=False).values.mean(1)


def _to_images(patches: Tensor, bank: Tensor) -> Tensor:
    """From patches `(N, D)` to the nearest patch of each image of `(T, M, D)`: `(N, T)`."""
    T, M, _ = bank.shape
    return torch.cdist(patches, bank.flatten(0, 1)).unflatten(1, (T, M)).amin(2)


def middle(patches: Tensor) -> Tensor:
    """The middle patch of `(B, N, D)`: `(B, D)`, a copy."""
    return patches[:, patches.shape[1] // 2].clone()
