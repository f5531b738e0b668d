"""The PNG encoder: other decoders read what it wrote, and it refuses what it cannot write."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adlib.samples.png import encode_png

DRAWS = st.tuples(st.integers(1, 40), st.integers(1, 700), st.integers(1, 256), st.integers(0, 2**32 - 1))


@given(DRAWS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_pillow_reads_the_same_pixels(case, runs):
    height, width, levels, seed = case
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, levels, (height, width)).astype(np.uint8)
    if runs:  # long stretches of equal bytes take the other symbols
        pixels = np.where(np.arange(width) % 600 < 590, pixels[:, :1], pixels)
    image = Image.open(io.BytesIO(encode_png(pixels)))
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), pixels)
    palette = rng.integers(0, 256, (256, 3)).astype(np.uint8)
    image = Image.open(io.BytesIO(encode_png(pixels, palette)))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette[pixels])


def test_very_uneven_counts_stay_within_the_longest_code():
    """Fibonacci counts make the deepest Huffman tree: codes of 23 bits here, where 15 are allowed."""
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-1] + counts[-2])
    flat = np.repeat(np.arange(24) * 10, counts)
    # Shuffled, in one row: filters and runs would hide the counts.
    pixels = np.random.default_rng(0).permutation(flat)[None].astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


def test_blank_masks_are_small_and_noise_is_not_inflated():
    assert len(encode_png(np.zeros((256, 256), np.uint8))) < 300
    noise = np.random.default_rng(0).integers(0, 256, (256, 256)).astype(np.uint8)
    assert len(encode_png(noise)) < 1.01 * noise.size


@pytest.mark.parametrize(
    ("pixels", "palette", "message"),
    [
        (np.zeros((2, 2)), None, r"pixels must be .* float64"),
        (np.zeros((0, 2), np.uint8), None, "non-empty"),
        (
            np.zeros((2, 2), np.uint8),
            np.zeros((3, 4), np.uint8),
            r"palette must be \(N, 3\) uint8, got \(3, 4\)",
        ),
        (np.full((2, 2), 5, np.uint8), np.zeros((5, 3), np.uint8), "6 to 256 colours, got 5"),
        (np.zeros((2, 2), np.uint8), np.zeros((300, 3), np.uint8), "1 to 256 colours, got 300"),
    ],
)
def test_wrong_arguments_are_refused(pixels, palette, message):
    with pytest.raises(ValueError, match=message):
        encode_png(pixels, palette)
