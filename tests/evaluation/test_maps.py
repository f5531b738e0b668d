"""Pixel maps against torch's interpolation followed by SciPy's Gaussian."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from adlib.evaluation.maps import SMOOTHING, pixel_maps

cells = st.integers(1, 9)


def reference(scores: np.ndarray, grid: tuple[int, int], size: int, sigma: float) -> np.ndarray:
    patches = torch.from_numpy(scores.reshape(-1, 1, *grid).astype(np.float64))
    maps = F.interpolate(patches, size=(size, size), mode="bilinear", align_corners=False)[:, 0].numpy()
    return np.stack([gaussian_filter(m, sigma, mode="reflect") if sigma else m for m in maps])


@given(cells, cells, st.integers(1, 40), st.sampled_from([0.0, 0.7, 4.0]), st.integers(0, 9))
def test_equals_interpolation_and_gaussian(rows: int, columns: int, size: int, sigma: float, seed: int):
    scores = np.random.default_rng(seed).normal(size=(2, rows * columns))
    found = pixel_maps(scores, (rows, columns), size, sigma)
    assert found.dtype == np.float32
    assert found.shape == (2, size, size)
    np.testing.assert_allclose(found, reference(scores, (rows, columns), size, sigma), atol=1e-6)


def test_usual_size():
    """32 x 32 patches of a 256-pixel image, float16 as some scores are kept; the default smoothing is 4."""
    scores = np.random.default_rng(0).normal(size=(3, 1024)).astype(np.float16)
    np.testing.assert_allclose(
        pixel_maps(scores, (32, 32), 256), reference(scores, (32, 32), 256, SMOOTHING), atol=1e-5
    )
    assert SMOOTHING == 4.0


@given(cells, cells, st.floats(-1e3, 1e3, width=32), st.sampled_from([0.0, 4.0]))
def test_a_constant_map_stays_constant(rows: int, columns: int, value: float, sigma: float):
    maps = pixel_maps(np.full((1, rows * columns), value), (rows, columns), 16, sigma)
    np.testing.assert_allclose(maps, value, rtol=1e-6)


def test_rows_and_columns_are_not_swapped():
    scores = np.zeros((1, 2 * 4))
    scores[0, 3] = 1  # first row, last column
    (found,) = pixel_maps(scores, (2, 4), 16, sigma=1)
    assert np.unravel_index(found.argmax(), found.shape) == (0, 15)


def test_maps_are_independent_of_their_batch():
    scores = np.random.default_rng(0).normal(size=(4, 12))
    together = pixel_maps(scores, (3, 4), 24)
    alone = np.concatenate([pixel_maps(score[None], (3, 4), 24) for score in scores])
    np.testing.assert_array_equal(together, alone)


def test_a_wrong_grid_is_refused():
    with pytest.raises(ValueError, match="12 patches do not fill a grid of 3 x 5"):
        pixel_maps(np.zeros((1, 12)), (3, 5), 8)
