"""SimpleNet's patch embedding (Liu et al. 2023; CoMet 4.5), without ever building the unfolded tensor."""

from collections.abc import Sequence
from functools import lru_cache
from math import gcd

import torch
from torch import Tensor
from torch.nn import functional as F


def embed_patches(
    levels: Sequence[Tensor], pretrain_dim: int, target_dim: int, patch_size: int = 3
) -> Tensor:
    """Describe every position of the finest level by its neighbourhood on all levels.

    Each level is unfolded into neighbourhoods at its own resolution, flattened channel-major to
    `C * patch_size**2` and adaptive-average-pooled to `pretrain_dim`; deeper levels are resized bilinearly to
    the first level's grid; the levels are concatenated and adaptive-average-pooled to `target_dim`. Unfolding
    and pooling are one linear map of a neighbourhood, a convolution, and the resize acts on other axes, so the
    result equals the literal one (a test compares them).

    Args:
        levels: feature maps `(B, C_l, H_l, W_l)`, the finest first.
        pretrain_dim: width of each level's description.
        target_dim: width of the result.
        patch_size: odd side of the neighbourhood; zero padding keeps the grid.

    Returns:
        `(B, H, W, target_dim)` on the grid of the first level.
    """
    if not levels:
        raise ValueError("levels: at least one feature map is needed, got none")
    if patch_size < 1 or patch_size % 2 == 0:
        raise ValueError(f"patch_size: must be odd and positive, got {patch_size}")
    grid = levels[0].shape[-2:]
    described = [_describe(level, pretrain_dim, patch_size) for level in levels]
    resized = [
        d if d.shape[-2:] == grid else F.interpolate(d, size=grid, mode="bilinear", align_corners=False)
        for d in described
    ]
    B, _, H, W = resized[0].shape
    stacked = torch.cat(resized, dim=1).permute(0, 2, 3, 1).reshape(B * H * W, 1, -1)
    return F.adaptive_avg_pool1d(stacked, target_dim).reshape(B, H, W, target_dim)


def _describe(level: Tensor, dim: int, patch_size: int) -> Tensor:
    """Neighbourhoods of one level, pooled to `dim` channels: `(B, C, H, W)` to `(B, dim, H, W)`."""
    channels = level.shape[1]
    kernel = _pooling_kernel(channels, dim, patch_size).to(level)
    return F.conv2d(level, kernel, padding=patch_size // 2, groups=gcd(channels, dim))


@lru_cache(maxsize=16)
def _pooling_kernel(channels: int, dim: int, patch_size: int) -> Tensor:
    """The convolution kernel of unfold followed by adaptive average pooling.

    Output j averages the flattened inputs `floor(j L / dim) .. ceil((j + 1) L / dim)`, `L = channels *
    patch_size**2`. Those bins break at every multiple of `L / g`, `g = gcd(channels, dim)`: the map splits
    into g equal groups of channels, and one group's pooling matrix says it all.
    """
    groups = gcd(channels, dim)
    inputs, outputs = channels // groups * patch_size**2, dim // groups
    # Pooling the identity's rows gives the pooling matrix itself, (inputs, outputs).
    matrix = F.adaptive_avg_pool1d(torch.eye(inputs, dtype=torch.float64)[:, None], outputs)[:, 0]
    kernel = matrix.T.reshape(outputs, channels // groups, patch_size, patch_size)
    return kernel.repeat(groups, 1, 1, 1)
