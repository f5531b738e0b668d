"""Contrastive learning on embeddings of normal patches, in memory linear in their number (CoZAD eq. 1-2)."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

CHUNK = 256  # rows of the similarity matrix at a time


def contrastive_loss(x: Tensor, x_aug: Tensor, temperature: float, chunk_size: int = CHUNK) -> Tensor:
    """Each embedding against its own augmentation and all the others, CoZAD eq. 1.

    `-log( e^{s(x_i, x~_i)/tau} / (e^{s(x_i, x~_i)/tau} + sum_{j != i} e^{s(x_i, x_j)/tau}) )` with the
    cosine similarity s. Arguments, result and errors as in `nn_contrastive_loss`.

    Example:
        Each row is like its copy (e^1) and unlike the other row (e^0), so the loss is log(1 + 1/e):

        >>> contrastive_loss(torch.eye(2), torch.eye(2), temperature=1.0)
        tensor([0.3133, 0.3133])
    """
    return nn_contrastive_loss(x, x_aug, 0, temperature, chunk_size)


def nn_contrastive_loss(
    x: Tensor, x_aug: Tensor, k: int, temperature: float, chunk_size: int = CHUNK
) -> Tensor:
    """Eq. 1 with the k nearest neighbours of each embedding as further positives, CoZAD eq. 2.

    The neighbours are the rows of x other than its own with the largest cosine; no gradient flows through
    the choice. They count among the positives and, as printed, once more in the sum over `j != i`.

    The similarities are computed `chunk_size` rows at a time, and again in the backward pass: memory is
    `O(B (D + chunk_size))`. A second derivative is exact as well, but keeps all `B^2` similarities.

    Args:
        x: `(B, D)` embeddings; a zero vector has similarity 0 to everything.
        x_aug: `(B, D)`, the augmented `x~`.
        k: number of neighbours, 0 to B - 1; 0 is eq. 1.
        temperature: tau, > 0.
        chunk_size: rows at a time, >= 1; it changes memory and time only.

    Returns:
        `(B,)` losses >= 0, float32 (float64 for float64 embeddings).

    Raises:
        ValueError: shapes that do not fit, or a number out of its range.

    Example:
        The other row is a positive now, log((e + 1 + 1) / (e + 1)):

        >>> nn_contrastive_loss(torch.eye(2), torch.eye(2), k=1, temperature=1.0)
        tensor([0.2382, 0.2382])
    """
    _check(x, x_aug, k, temperature, chunk_size)
    # A rounding error of half precision, divided by tau, would be as large as the differences that matter.
    with torch.autocast(x.device.type, enabled=False):
        unit, unit_aug = _unit(x), _unit(x_aug)
        own = (unit * unit_aug).sum(dim=1) / temperature
        starts = range(0, len(x), chunk_size)
        rows_losses = _rows_losses
        if len(starts) > 1:
            rows_losses = partial(checkpoint, _rows_losses, use_reentrant=False, preserve_rng_state=False)
        return torch.cat(
            [rows_losses(unit, own[start : start + chunk_size], start, k, temperature) for start in starts]
        )


def _rows_losses(unit: Tensor, own: Tensor, start: int, k: int, temperature: float) -> Tensor:
    """Losses of the rows from `start` on, given `own = s(x_i, x~_i) / tau` of these rows: `(C,)`.

    With P the sum over the positives and O that over the others, `-log(P / (P + O))` is the softplus of
    `log O - log P`, which loses nothing when either is much larger.
    """
    rows = unit[start : start + len(own)]
    others = (rows / temperature) @ unit.T
    # Finite, so that a row without others has the loss 0 and gradients that are not NaN.
    others.diagonal(start).fill_(torch.finfo(others.dtype).min)
    nearest = others.detach().topk(k, dim=1).indices
    positives = torch.cat([own[:, None], others.gather(1, nearest)], dim=1)
    return F.softplus(others.logsumexp(dim=1) - positives.logsumexp(dim=1))


def _unit(x: Tensor) -> Tensor:
    """Rows of length 1, and zero rows as they are: their gradient stays as small as any other's."""
    x = x if x.dtype == torch.float64 else x.float()
    squared = x.square().sum(dim=1, keepdim=True)
    return x * torch.where(squared > 0, squared, 1.0).rsqrt()


def _check(x: Tensor, x_aug: Tensor, k: int, temperature: float, chunk_size: int) -> None:
    if x.ndim != 2 or not len(x):
        raise ValueError(f"x: must be (B, D) with B >= 1, got shape {tuple(x.shape)}")
    if x_aug.shape != x.shape:
        raise ValueError(f"x_aug: must have the shape of x, {tuple(x.shape)}, got {tuple(x_aug.shape)}")
    if not 0 <= k <= len(x) - 1:
        raise ValueError(f"k: must be between 0 and B - 1 = {len(x) - 1} (the other rows), got {k}")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature: must be positive and finite, got {temperature}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size: must be >= 1, got {chunk_size}")
