"""Patch scores to image scores and pixel maps."""

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

SMOOTHING = 4.0  # pixels, the standard deviation that SimpleNet and PatchCore use


def pixel_maps(
    patch_scores: np.ndarray, grid: tuple[int, int], size: int, sigma: float = SMOOTHING
) -> np.ndarray:
    """Maps at image resolution: bilinear (half-pixel centres), then a Gaussian.

    Both steps are linear and separable, so a map is `A_h P A_w^T` with one small matrix an axis.

    Args:
        patch_scores: `(B, N)` with `N = grid[0] * grid[1]`, row-major.
        grid: `(rows, columns)` of patches.
        size: side of the square map in pixels.
        sigma: standard deviation of the Gaussian in pixels; 0 for none.

    Returns:
        `(B, size, size)` float32.
    """
    B, N = patch_scores.shape
    if grid[0] * grid[1] != N:
        raise ValueError(f"patch_scores: {N} patches do not fill a grid of {grid[0]} x {grid[1]}")
    patches = patch_scores.reshape(B, *grid).astype(np.float64)
    rows, columns = (_axis_matrix(cells, size, sigma) for cells in grid)
    return (rows @ patches @ columns.T).astype(np.float32)


def patch_box(patch: int, grid: tuple[int, int], size: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a patch in pixels of the square frame; the last two are exclusive."""
    row, column = divmod(patch, grid[1])
    left, right = (round(c * size / grid[1]) for c in (column, column + 1))
    top, bottom = (round(r * size / grid[0]) for r in (row, row + 1))
    return left, top, right, bottom


def anomalous_patches(patch: np.ndarray, above: float, most: int) -> list[int]:
    """At most `most` of `(N,)` patches with a score above a limit, the worst first."""
    worst = np.argsort(-patch, kind="stable")[:most]
    return [int(p) for p in worst if patch[p] > above]


@lru_cache(maxsize=8)
def _axis_matrix(cells: int, size: int, sigma: float) -> np.ndarray:
    """`(size, cells)`: bilinear interpolation of an axis, then Gaussian smoothing along it."""
    # Half-pixel centres (torch's align_corners=False), clamped at the border.
    position = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, cells - 1)
    matrix = np.zeros((size, cells))
    np.add.at(matrix, (np.arange(size), low), 1 - (position - low))
    np.add.at(matrix, (np.arange(size), high), position - low)
    return gaussian_filter1d(matrix, sigma, axis=0, mode="reflect") if sigma > 0 else matrix
