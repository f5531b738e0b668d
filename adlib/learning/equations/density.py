"""How far a training patch lies from the *other* training images, and how crowded its neighbourhood is.

A discriminator that starts from nothing trusts every image equally. Distances know better from the start: a
defect looks like nothing in the other images, so its patches have far neighbours. Neighbours are counted over
distinct images, the patch's own left out, so that neither an image nor a twin of it vouches for itself.
"""

import torch
from torch import Tensor

CHUNK = 1024  # patches compared at a time


class ImageBank:
    """What images offer as neighbours: patches `(S, M, D)`.

    Example:
        >>> ImageBank(torch.tensor([[[3.0, 4.0]]])).squared(torch.zeros(1, 2))
        tensor([[[25.]]])
    """

    def __init__(self, patches: Tensor) -> None:
        self.images, self.size, _ = patches.shape
        flat = patches.flatten(0, 1)
        self._offsets, self._transposed = flat.square().sum(1), flat.T.contiguous()

    def squared(self, patches: Tensor) -> Tensor:
        """`||x - y||^2 - ||x||^2` of patches `(P, D)`, image by image: `(P, S, M)`."""
        products = torch.addmm(self._offsets[None], patches, self._transposed, alpha=-2)
        return products.reshape(len(patches), self.images, self.size)


def nearest_elsewhere(patches: Tensor, images: Tensor, bank: Tensor, owners: Tensor) -> Tensor:
    """Distance of every patch to the nearest one of another image's.

    Args:
        patches: `(n, D)`.
        images: `(n,)`, the image that each belongs to.
        bank: `(S, M, D)`, what the images have to offer.
        owners: `(S,)`, the image that each row of the bank belongs to; two different ones at least.

    Returns:
        `(n,)`, >= 0.

    Example:
        Three images of one patch; the last two patches belong to images 1 and 2:

        >>> patches, images = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]]), torch.arange(3)
        >>> nearest_elsewhere(patches, images, bank=patches[:, None], owners=images)
        tensor([5., 1., 1.])
    """
    offers, found = ImageBank(bank), []
    for some, own in zip(patches.split(CHUNK), images.split(CHUNK), strict=True):
        by_image = offers.squared(some).amin(dim=2)
        by_image[own[:, None] == owners] = torch.inf
        # ||a - b||^2 expanded can round below zero for twins.
        found.append((by_image.amin(dim=1) + some.square().sum(1)).clamp_min(0).sqrt())
    return torch.cat(found)


def isolation(patches: Tensor, bank: Tensor, neighbours: int) -> Tensor:
    """Local outlier factor of every patch with one neighbour an image, leave-one-image-out.

    `d_k / mean of the neighbours' own d_k` (Breunig et al. 2000, on plain k-distances): about 1 inside a
    cluster, whatever its scale, and larger the farther a patch lies from all others.

    Args:
        patches: `(S, P, D)`; the first M patches of an image are its bank.
        bank: `(S, M, D)`, what an image offers as neighbours.
        neighbours: k, the number of distinct images; capped at `S - 2`.

    Returns:
        `(S, P)`, > 0.

    Raises:
        ValueError: fewer than three images, or shapes that do not belong together.

    Example:
        Patches at 0, 1, 2 and 10, one per image: the last is 8 from its neighbour, whose own distance is 1.

        >>> patches = torch.tensor([0.0, 1.0, 2.0, 10.0])[:, None, None]
        >>> isolation(patches, bank=patches, neighbours=1).flatten()
        tensor([1., 1., 1., 8.])
    """
    S, P, D = patches.shape
    if bank.ndim != 3 or bank.shape[0] != S or bank.shape[2] != D or bank.shape[1] > P:
        raise ValueError(f"bank: must be ({S}, at most {P}, {D}), got {tuple(bank.shape)}")
    if S < 3:
        raise ValueError(f"patches: at least 3 images are needed to compare with others, got {S}")
    k = max(1, min(neighbours, S - 2))
    M, offers = bank.shape[1], ImageBank(bank)
    distance = torch.empty((S, P), dtype=patches.dtype, device=patches.device)
    nearest = torch.empty((S, P, k), dtype=torch.long, device=patches.device)
    for s in range(S):
        by_image, which = offers.squared(patches[s]).min(dim=2)
        by_image[:, s] = torch.inf
        values, images = by_image.topk(k, dim=1, largest=False)
        # ||a - b||^2 expanded can round below zero for twins.
        distance[s] = (values[:, -1] + patches[s].square().sum(1)).clamp_min(0).sqrt()
        nearest[s] = images * M + which.gather(1, images)
    around = distance[:, :M].reshape(-1)[nearest].mean(dim=2)
    tiny = torch.finfo(distance.dtype).tiny
    return distance.clamp_min(tiny) / around.clamp_min(tiny)
