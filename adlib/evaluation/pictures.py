"""Thumbnails of the gallery: picture, heat map and outline of the true mask as small JPEGs."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation

PANEL = 160  # pixels, the side of a picture
OUTLINE = (0, 229, 255)  # a hue that the colour map lacks
QUALITIES = (82, 74, 66, 58, 50, 42, 34, 26)
OPACITY = (0.30, 0.80)  # of the colours over the picture, at the low and the high end

# A polynomial of degree 6 close to Matplotlib's "inferno" (van der Walt and Smith 2015, CC0), at most 9 of
# 255 off: rows are the powers, columns red, green, blue. Lightness rises evenly, so that equal steps of the
# score look equal.
INFERNO = np.array([
    [0.0002189403691192265, 0.001651004631001012, -0.01948089843709184],
    [0.1065134194856116, 0.5639564367884091, 3.932712388889277],
    [11.60249308247187, -3.972853965665698, -15.9423941062914],
    [-41.70399613139459, 17.43639888205313, 44.35414519872813],
    [77.162935699427, -33.40235894210092, -81.80730925738993],
    [-71.31942824499214, 32.62606426397723, 73.20951985803202],
    [25.13112622477341, -12.24266895238567, -23.07032500287172],
])  # fmt: skip


def heat_colours(values: np.ndarray) -> np.ndarray:
    """Colours of values: `(...)` in [0, 1] (clipped) to `(..., 3)` uint8."""
    powers = np.clip(values, 0, 1)[..., None] ** np.arange(len(INFERNO))
    return np.rint(255 * np.clip(powers @ INFERNO, 0, 1)).astype(np.uint8)


def stretch(heat: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low` to 0 and `high` to 1."""
    return (heat - low) / max(high - low, np.finfo(float).tiny)


def overlay(rgb: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map over the grey picture, the more opaque the hotter.

    Args:
        rgb: `(H, W, 3)` uint8.
        heat: `(H, W)`, clipped to [0, 1].

    Returns:
        `(H, W, 3)` uint8.
    """
    grey = rgb.astype(np.float64) @ (0.299, 0.587, 0.114)
    low, high = OPACITY
    alpha = (low + (high - low) * np.clip(heat, 0, 1))[..., None]
    return np.rint((1 - alpha) * grey[..., None] + alpha * heat_colours(heat)).astype(np.uint8)


def draw_outline(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Paint two pixels around a `(H, W)` bool mask: outside it, so that the defect itself stays in view."""
    drawn = rgb.copy()
    drawn[binary_dilation(mask, iterations=2) & ~mask] = OUTLINE
    return drawn


def shrink(rgb: np.ndarray) -> np.ndarray:
    """`(H, W, 3)` uint8 to `(PANEL, PANEL, 3)`."""
    return np.asarray(Image.fromarray(rgb).resize((PANEL, PANEL), Image.Resampling.LANCZOS))


def shrink_mask(mask: np.ndarray) -> np.ndarray:
    """`(H, W)` bool to `(PANEL, PANEL)`; any part of a defect makes a pixel of it, so that none vanishes."""
    share = Image.fromarray(mask.astype(np.float32)).resize((PANEL, PANEL), Image.Resampling.BOX)
    return np.asarray(share) > 0


def encode(pictures: Sequence[np.ndarray], budget: int) -> list[str]:
    """Pictures as base64 JPEGs, at the best of `QUALITIES` at which all of them fit into `budget` bytes.

    The lowest quality is used even where it does not fit.
    """
    files: list[bytes] = []
    for quality in QUALITIES:
        files = [_jpeg(picture, quality) for picture in pictures]
        if sum(map(len, files)) <= budget:
            break
    return [base64.b64encode(file).decode("ascii") for file in files]


def _jpeg(picture: np.ndarray, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()
