"""Painted defects: the same for the same pixels, local, and different for every image."""

import numpy as np
import pytest

from adlib.base.rng import numpy_stream
from adlib.embedding import painting
from adlib.embedding.painting import FILLINGS, painted


def texture(seed: int, H: int = 96) -> np.ndarray:
    return np.random.default_rng(seed).integers(90, 160, (H, H, 3), dtype=np.uint8)


def test_an_image_always_gets_the_same_defects():
    image = texture(0)
    before = image.copy()
    copy, covered = painted(image, 3)
    for found, again in zip((copy, covered), painted(image.copy(), 3), strict=True):
        np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(image, before)
    assert copy.shape == image.shape
    assert copy.dtype == np.uint8
    assert covered.any()
    assert (copy != image).any(2)[covered].all()


def test_defects_are_local_and_more_of_them_cover_more():
    shares = []
    for defects in (1, 6):
        changed = [(painted(texture(seed), defects).rgb != texture(seed)).any(2).mean() for seed in range(12)]
        assert max(changed) < 0.8
        shares.append(np.mean(changed))
    assert 0.001 < shares[0] < shares[1] / 2


def test_no_two_images_share_their_defects():
    flat, grey = (np.full((96, 96, 3), value, np.uint8) for value in (100, 101))
    assert ((painted(flat, 2).rgb != flat) != (painted(grey, 2).rgb != grey)).any()


@pytest.mark.parametrize("filling", FILLINGS, ids=lambda f: f.__name__.strip("_"))
def test_every_filling_changes_what_it_covers(filling: painting.Filling, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(painting, "FILLINGS", (filling,))
    image = texture(1)
    filled = filling(image.astype(np.float32), numpy_stream(0, "x"))
    assert np.broadcast_shapes(filled.shape, image.shape) == image.shape
    assert 0 < (painted(image, 2).rgb != image).any(2).mean() < 0.8


def test_sizes_follow_the_image():
    small, large = (
        np.mean([(painted(texture(s, H), 1).rgb != texture(s, H)).any(2).mean() for s in range(20)])
        for H in (64, 256)
    )
    assert large / 3 < small < 3 * large
