"""AF-CLIP's spatial aggregation over the tokens of a square grid (4.1, eq. 5-6)."""

from math import isqrt

import torch
from torch import Tensor


def aggregate_neighbours(tokens: Tensor, window: int, sigma: float = 4.0) -> Tensor:
    """Replace every patch token by the weighted mean of its neighbourhood, AF-CLIP eq. 5-6.

    `f^r_p = sum_{q in window(p)} g_r(q - p) f_q`, `g_r(d) ∝ exp(-|d|^2 / (2 sigma^2))`, normalised over the
    full `window x window`; outside the grid there are zeros.

    Args:
        tokens: `(B, 1 + N, D)`, the class token first, then the patches of a square grid, row-major.
        window: r, odd side of the neighbourhood in patches; 1 changes nothing.
        sigma: standard deviation of the weights in patches.

    Returns:
        `(B, 1 + N, D)`; the class token is the one that came in.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window: must be odd and positive, got {window}")
    if not sigma > 0:
        raise ValueError(f"sigma: must be positive, got {sigma}")
    if tokens.ndim != 3 or tokens.shape[1] < 2:
        raise ValueError(f"tokens: must be (B, 1 + N, D) with N >= 1, got {tuple(tokens.shape)}")
    B, T, D = tokens.shape
    side = isqrt(T - 1)
    if side**2 != T - 1:
        raise ValueError(
            f"tokens: the {T - 1} patches do not fill a square grid; class token + side^2 needed"
        )
    if window == 1:
        return tokens
    # A Gaussian is a product of one factor an axis, and so is its normalisation over a square window.
    axis = _axis_weights(side, window, sigma).to(tokens)
    grid = tokens[:, 1:].reshape(B, side, side, D)
    rows = torch.einsum("ip,bpqd->biqd", axis, grid)
    mixed = torch.einsum("jq,biqd->bijd", axis, rows)
    return torch.cat([tokens[:, :1], mixed.flatten(1, 2)], dim=1)


def _axis_weights(side: int, window: int, sigma: float) -> Tensor:
    """`(side, side)`: the weight of position q for position p on one axis; rows at the border sum to < 1."""
    half = window // 2
    offsets = torch.arange(-half, half + 1, dtype=torch.float64)
    weights = torch.softmax(-offsets.square() / (2 * sigma**2), dim=0)
    position = torch.arange(side)
    distance = position - position[:, None]
    near = weights[(distance + half).clamp(0, window - 1)]
    return torch.where(distance.abs() <= half, near, 0.0)
