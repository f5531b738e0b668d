"""Defects painted on copies of training images: what a discriminator is to tell apart besides noise.

Not in the papers: CutPaste (Li et al. 2021) and DRAEM (Zavrtanik et al. 2021) train on such pictures. A
defect is a blot or a stroke with one of six fillings; sizes are for 256 pixels and scale with the image.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from adlib.base.rng import numpy_stream

SCALE = 256  # pixels, the side of the image that sizes below are meant for
STROKES = 0.4  # of all defects; the others are blots
VISIBLE = 4  # grey levels, of 255
Filling = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Painting(NamedTuple):
    """A copy of an image `(H, H, 3)` uint8, and where defects changed it for the eye: `(H, H)` bool."""

    rgb: np.ndarray
    covered: np.ndarray


def painted(rgb: np.ndarray, defects: int) -> Painting:
    """A copy of a square image `(H, H, 3)` uint8 with `defects` defects.

    The pixels seed the draws: an image always gets the same defects, whatever else is painted.
    """
    rng = numpy_stream(0, "painting", hashlib.sha256(rgb.tobytes()).hexdigest())
    image, covered = rgb.astype(np.float32), np.zeros(rgb.shape[:2], bool)
    for _ in range(defects):
        outline = (_stroke if rng.random() < STROKES else _blot)(len(rgb), rng)
        opacity = (outline * rng.uniform(0.4, 1.0))[..., None]
        filling = FILLINGS[rng.integers(len(FILLINGS))](image, rng)
        image = np.clip(image * (1 - opacity) + filling * opacity, 0, 255)
        covered |= outline > 0.5
    seen = np.abs(image - rgb).mean(axis=2) > VISIBLE
    return Painting(np.round(image).astype(np.uint8), covered & seen)


def _blot(H: int, rng: np.random.Generator) -> np.ndarray:
    """A ragged ellipse: `(H, H)` in [0, 1]."""
    radius, angle = _between(rng, 6, 45) * H / SCALE, rng.uniform(0, np.pi)
    row, column = rng.uniform(0.05 * H, 0.95 * H, 2)
    y, x = np.arange(H)[:, None] - row, np.arange(H)[None] - column
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    depth = np.hypot(along / radius, across / (radius * _between(rng, 0.3, 1)))
    depth += 0.35 * _clouds(H, max(2, radius / 3), rng)
    return np.clip((1 - depth) * radius / 3 + 0.5, 0, 1)


def _stroke(H: int, rng: np.random.Generator) -> np.ndarray:
    """A thin line that wanders: `(H, H)` in [0, 1]."""
    steps, scale = 200, H / SCALE
    length, width = _between(rng, 20, 200) * scale, _between(rng, 0.7, 4) * scale
    bends = rng.standard_normal(steps) * rng.uniform(0, 0.15)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bends)
    path = np.cumsum(np.stack([np.sin(heading), np.cos(heading)]), axis=1) * length / steps
    points = rng.uniform(0.1 * H, 0.9 * H, (2, 1)) + path
    rows, columns = np.round(points[:, ((points >= 0) & (points <= H - 1)).all(axis=0)]).astype(int)
    away = np.ones((H, H), bool)
    away[rows, columns] = False
    return np.clip(width - np.asarray(distance_transform_edt(away)) + 0.5, 0, 1)


def _another_place(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image itself, moved by at least an eighth and turned."""
    H = len(image)
    down, right = (int(rng.integers(H // 8, H - H // 8)) for _ in range(2))
    moved = np.rot90(np.roll(image, (down, right), (0, 1)), int(rng.integers(4)))
    return moved[::-1] if rng.random() < 0.5 else moved


def _lighter_or_darker(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.choice([-1, 1]) * _between(rng, 15, 120)


def _grey(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 255) + 15 * _clouds(len(image), rng.uniform(1, 8), rng)[..., None]


def _colour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 255, 3) + 15 * _clouds(len(image), rng.uniform(1, 8), rng)[..., None]


def _rough(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.uniform(10, 50) * _clouds(len(image), rng.uniform(0.5, 2), rng)[..., None]


def _bent(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image, its pixels moved by a smooth random field."""
    H, reach = len(image), rng.uniform(3, 20)
    where = np.mgrid[:H, :H] + np.stack([reach * _clouds(H, rng.uniform(6, 20), rng) for _ in range(2)])
    return np.stack([map_coordinates(image[..., c], where, order=1, mode="nearest") for c in range(3)], 2)


FILLINGS: tuple[Filling, ...] = (_another_place, _lighter_or_darker, _grey, _colour, _rough, _bent)


def _clouds(H: int, size: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance: `(H, H)`."""
    noise = gaussian_filter(rng.standard_normal((H, H)), size, mode="wrap")
    return noise / max(float(noise.std()), 1e-12)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Between the two, uniform in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
