"""How crowded the neighbourhood of a training patch is among the *other* training images.

A discriminator that starts from nothing trusts every image equally. Distances know better from the start: a
defect looks like nothing in the other images, so its patches have far neighbours. Neighbours are counted over
distinct images, the patch's own left out, so that neither an image nor a twin of it vouches for itself.
"""

import torch
from torch import Tensor


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
    """
    S, P, D = patches.shape
    if bank.ndim != 3 or bank.shape[0] != S or bank.shape[2] != D or bank.shape[1] > P:
        raise ValueError(f"bank: must be ({S}, at most {P}, {D}), got {tuple(bank.shape)}")
    if S < 3:
        raise ValueError(f"patches: at least 3 images are needed to compare with others, got {S}")
    k = max(1, min(neighbours, S - 2))
    M = bank.shape[1]
    flat = bank.reshape(S * M, D)
    offsets, transposed = flat.square().sum(1), flat.T.contiguous()
    distance = torch.empty((S, P), dtype=patches.dtype, device=patches.device)
    nearest = torch.empty((S, P, k), dtype=torch.long, device=patches.device)
    for s in range(S):
        squared = torch.addmm(offsets[None], patches[s], transposed, alpha=-2).reshape(P, S, M)
        by_image, which = squared.min(dim=2)
        by_image[:, s] = torch.inf
        values, images = by_image.topk(k, dim=1, largest=False)
        # ||a - b||^2 expanded can round below zero for twins.
        distance[s] = (values[:, -1] + patches[s].square().sum(1)).clamp_min(0).sqrt()
        nearest[s] = images * M + which.gather(1, images)
    around = distance[:, :M].reshape(-1)[nearest].mean(dim=2)
    tiny = torch.finfo(distance.dtype).tiny
    return distance.clamp_min(tiny) / around.clamp_min(tiny)
