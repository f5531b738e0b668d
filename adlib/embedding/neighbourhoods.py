"""SimpleNet's patch embedding (Liu et al. 2023; CoMet 4.5), without ever building the unfolded tensor."""

from collections.abc import Sequence
from functools import lru_cache
from math import gcd

import torch
from torch import Tensor
from torch.nn import functional as F


def embed_patches(
    levels: Sequence[Tensor], pretrain_dim: int | None, target_dim: int | None, patch_size: int = 3
) -> Tensor:
    """Describe every position of the finest level by its neighbourhood on all levels.

    Each level is unfolded into neighbourhoods at its own resolution, flattened channel-major to
    `C * patch_size**2` and adaptive-average-pooled to `pretrain_dim`; deeper levels are resized bilinearly
    to the first level's grid; the levels are concatenated and adaptive-average-pooled to `target_dim`.
    Unfolding and pooling are one linear map of a neighbourhood, a convolution, and the resize acts on other
    axes, so the result equals the literal one (a test compares them). Where `target_dim` is a multiple of
    the number of levels, no last bin spans two levels, and the last pooling belongs to that map as well.

    Args:
        levels: feature maps `(B, C_l, H_l, W_l)`, the finest first.
        pretrain_dim: width of each level's description; None keeps the level's own channels, which pools
            a neighbourhood channel by channel into its mean.
        target_dim: width of the result; None leaves the concatenated levels as they are.
        patch_size: odd side of the neighbourhood; zero padding keeps the grid.

    Returns:
        `(B, H, W, D)`, `D = target_dim` or the levels' widths together, on the grid of the first level.
    """
    if not levels:
        raise ValueError("levels: at least one feature map is needed, got none")
    if patch_size < 1 or patch_size % 2 == 0:
        raise ValueError(f"patch_size: must be odd and positive, got {patch_size}")
    grid = levels[0].shape[-2:]
    # The last pooling splits into one a level where all are of one width and no bin spans two of them.
    each = () if target_dim is None else (target_dim // len(levels),)
    separable = target_dim is None or (pretrain_dim is not None and target_dim % len(levels) == 0)
    described = [
        _describe(level, (pretrain_dim or level.shape[1], *(each if separable else ())), patch_size)
        for level in levels
    ]
    resized = [
        d if d.shape[-2:] == grid else F.interpolate(d, size=grid, mode="bilinear", align_corners=False)
        for d in described
    ]
    stacked = torch.cat(resized, dim=1).permute(0, 2, 3, 1)
    if separable or target_dim is None:
        return stacked
    B, H, W, D = stacked.shape
    return F.adaptive_avg_pool1d(stacked.reshape(B * H * W, 1, D), target_dim).reshape(B, H, W, target_dim)


def _describe(level: Tensor, dims: tuple[int, ...], patch_size: int) -> Tensor:
    """Neighbourhoods of one level, pooled to `dims` in turn: `(B, C, H, W)` to `(B, dims[-1], H, W)`."""
    kernel, groups = _pooling_kernel(level.shape[1], dims, patch_size)
    return F.conv2d(level, kernel.to(level), padding=patch_size // 2, groups=groups)


@lru_cache(maxsize=16)
def _pooling_kernel(channels: int, dims: tuple[int, ...], patch_size: int) -> tuple[Tensor, int]:
    """The convolution kernel of unfold followed by adaptive average poolings, and its number of groups.

    Output j of a pooling from L to d averages the inputs `floor(j L / d) .. ceil((j + 1) L / d)`. Those bins
    break at every multiple of `L / g` for any common divisor g of L and d: the whole map splits into
    `gcd(channels, *dims)` equal groups of channels, and one group's pooling matrix says it all.
    """
    groups = gcd(channels, *dims)
    inputs = channels // groups * patch_size**2
    # Pooling the identity's rows gives the pooling matrix itself, (inputs, outputs).
    matrix = torch.eye(inputs, dtype=torch.float64)
    for dim in dims:
        matrix = F.adaptive_avg_pool1d(matrix[:, None], dim // groups)[:, 0]
    kernel = matrix.T.reshape(-1, channels // groups, patch_size, patch_size)
    return kernel.repeat(groups, 1, 1, 1), groups
