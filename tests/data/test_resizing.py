"""Images and masks resized to a square, in one geometry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib.data.images import picture_window, resize_mask, resize_rgb

GREY = np.zeros((2, 3), np.uint8)
RGB = np.zeros((2, 3, 3), np.uint8)
PICTURES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 48), st.booleans())


@given(PICTURES, st.integers(0, 255))
def test_resizing_keeps_a_flat_picture_flat(case, level):
    height, width, size, keep_aspect = case
    resized = resize_rgb(np.full((height, width, 3), level, np.uint8), size, keep_aspect)
    assert resized.shape == (size, size, 3)
    assert resized.dtype == np.uint8
    assert (resized == level).all()


@given(PICTURES)
def test_the_window_is_centred_and_keeps_the_aspect(case):
    height, width, size, keep_aspect = case
    rows, columns = picture_window((height, width), size, keep_aspect)
    shown = rows.stop - rows.start, columns.stop - columns.start
    if not keep_aspect:
        assert shown == (size, size)
        return
    assert max(shown) == size
    for side, got, part in zip((height, width), shown, (rows, columns), strict=True):
        assert abs(got - max(1.0, side * size / max(height, width))) <= 0.5
        assert abs(part.start - (size - part.stop)) <= 1


@given(PICTURES, st.integers(0, 2**32 - 1))
def test_mask_and_image_share_one_geometry(case, seed):
    """Enlarged, every mask pixel is that of the nearest image pixel, and the image is brightest there."""
    height, width, factor, keep_aspect = case
    size = max(height, width) * (1 + factor % 4)
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    resized = resize_mask(mask, size, keep_aspect)
    assert resized.shape == (size, size)
    assert resized.dtype == np.bool_
    rows, columns = picture_window((height, width), size, keep_aspect)
    picture = resized[rows, columns]
    row_of = [(2 * i + 1) * height // (2 * len(picture)) for i in range(len(picture))]
    column_of = [(2 * j + 1) * width // (2 * picture.shape[1]) for j in range(picture.shape[1])]
    np.testing.assert_array_equal(picture, [[mask[i, j] for j in column_of] for i in row_of])
    bright = resize_rgb(np.repeat(mask[:, :, None], 3, axis=2).astype(np.uint8) * 255, size, keep_aspect)
    assert (bright[resized] > 0).all()
    assert (bright[~resized] < 255).all()


def test_padding_repeats_the_border():
    rgb = np.zeros((2, 4, 3), np.uint8)
    rgb[0], rgb[1] = 10, 20
    resized = resize_rgb(rgb, 4, keep_aspect=True)
    assert resized[:, 0, 0].tolist() == [10, 10, 20, 20]
    mask = np.array([[True] * 4, [False] * 4])
    assert resize_mask(mask, 4, keep_aspect=True)[:, 3].tolist() == [True, True, False, False]


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = resize_rgb(stripes, 8)[:, 1:-1].astype(int)
    assert np.abs(inner - 127.5).max() < 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resize_rgb(GREY, 4), r"rgb must be \(H, W, 3\) uint8, got \(2, 3\) uint8"),
        (lambda: resize_rgb(RGB.astype(float), 4), r"rgb must be .* float64"),
        (lambda: resize_mask(GREY, 4), r"mask must be \(H, W\) bool, got \(2, 3\) uint8"),
        (lambda: resize_rgb(RGB, 0), "at least 1 pixel, got size 0"),
        (lambda: picture_window((0, 3), 4), r"at least 1 pixel, got size 4 .*\(0, 3\)"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
