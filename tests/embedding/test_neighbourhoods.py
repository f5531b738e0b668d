"""The cheap patch embedding equals SimpleNet's literal one."""

import pytest
import torch
from torch.nn import functional as F

from adlib.embedding.neighbourhoods import embed_patches


def literal(levels: list[torch.Tensor], pretrain_dim: int, target_dim: int, patch_size: int) -> torch.Tensor:
    """Unfold each level, resize the unfolded tensor, pool, concatenate, pool (SimpleNet's code, in words)."""
    H, W = levels[0].shape[-2:]
    described = []
    for level in levels:
        B, C, h, w = level.shape
        unfolded = F.unfold(level, patch_size, padding=patch_size // 2)
        unfolded = unfolded.reshape(B, C * patch_size**2, h, w)
        if (h, w) != (H, W):
            unfolded = F.interpolate(unfolded, size=(H, W), mode="bilinear", align_corners=False)
        flat = unfolded.permute(0, 2, 3, 1).reshape(B * H * W, 1, -1)
        described.append(F.adaptive_avg_pool1d(flat, pretrain_dim)[:, 0])
    stacked = torch.stack(described, dim=1).flatten(1)[:, None]
    return F.adaptive_avg_pool1d(stacked, target_dim).reshape(levels[0].shape[0], H, W, target_dim)


@pytest.mark.parametrize(
    ("channels", "pretrain_dim", "target_dim", "patch_size"),
    [((8, 12), 16, 16, 3), ((5, 7), 11, 9, 3), ((4, 6), 30, 20, 5), ((6, 4), 3, 6, 1), ((8,), 8, 8, 3)],
)
def test_equals_the_literal_embedding(
    channels: tuple[int, ...], pretrain_dim: int, target_dim: int, patch_size: int
):
    generator = torch.Generator().manual_seed(0)
    levels = [
        torch.randn((2, C, 8 >> i, 10 >> i), dtype=torch.float64, generator=generator)
        for i, C in enumerate(channels)
    ]
    expected = literal(levels, pretrain_dim, target_dim, patch_size)
    torch.testing.assert_close(embed_patches(levels, pretrain_dim, target_dim, patch_size), expected)


def test_own_widths_are_plain_means_of_the_neighbourhood():
    levels = [torch.randn(2, 6, 8, 8, dtype=torch.float64), torch.randn(2, 10, 4, 4, dtype=torch.float64)]
    fine, coarse = (F.avg_pool2d(level, 3, 1, 1) for level in levels)
    coarse = F.interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=False)
    expected = torch.cat([fine, coarse], dim=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(embed_patches(levels, None, None), expected)
    pooled = F.adaptive_avg_pool1d(expected.reshape(128, 1, 16), 7).reshape(2, 8, 8, 7)
    torch.testing.assert_close(embed_patches(levels, None, 7), pooled)


def test_a_batch_is_its_images_one_by_one():
    levels = [torch.randn(3, 6, 8, 8), torch.randn(3, 10, 4, 4)]
    whole = embed_patches(levels, 12, 12)
    alone = torch.cat([embed_patches([level[i : i + 1] for level in levels], 12, 12) for i in range(3)])
    torch.testing.assert_close(whole, alone)


def test_bad_input():
    with pytest.raises(ValueError, match="levels"):
        embed_patches([], 4, 4)
    with pytest.raises(ValueError, match="odd"):
        embed_patches([torch.zeros(1, 2, 4, 4)], 4, 4, patch_size=2)
