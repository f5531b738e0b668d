"""Three synthetic textures, drawn with exactly rounded arithmetic only.

Sums, products, quotients, square roots, comparisons and floors of float64 arrays, element by element: IEEE
754 fixes every bit of their results, so a picture is the same on every processor and with every NumPy.
There is no sine, exponential or power, no matrix product and no sum over an axis, whose order could vary.
Random numbers come from the raw 64-bit stream of PCG64, which NumPy promises to keep.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SIZE = 256
ROWS, COLUMNS = np.meshgrid(
    np.arange(SIZE, dtype=np.float64), np.arange(SIZE, dtype=np.float64), indexing="ij"
)


class Draws:
    """Random numbers of one stream."""

    def __init__(self, seed: int) -> None:
        self._stream = np.random.PCG64(seed)

    def uniform(self, low: float, high: float) -> float:
        """One number in [low, high)."""
        return float(low + (high - low) * self.array(1)[0])

    def array(self, *shape: int) -> np.ndarray:
        """Numbers in [0, 1), multiples of 2^-53."""
        raw = self._stream.random_raw(int(np.prod(shape)))
        return ((raw >> np.uint64(11)).astype(np.float64) / 2**53).reshape(shape)

    def below(self, count: int) -> int:
        """One of 0 .. count - 1."""
        return int(self.array(1)[0] * count)

    def sign(self) -> float:
        """-1 or 1."""
        return 2.0 * self.below(2) - 1.0


@dataclass(frozen=True)
class Ramp:
    """A material: an even number of colours from dark to light, RGB 0..255."""

    levels: int
    dark: tuple[int, int, int]
    light: tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """What is to be drawn: (SIZE, SIZE) arrays of tone in [0, 1] and material, the index of a ramp."""

    tone: np.ndarray
    material: np.ndarray


@dataclass(frozen=True)
class Texture:
    """A way to paint defect-free scenes, and the ramps of its materials."""

    paint: Callable[[Draws], Scene]
    ramps: tuple[Ramp, ...]


def smoothstep(t: np.ndarray) -> np.ndarray:
    """3 t^2 - 2 t^3 of t clipped to [0, 1]."""
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(t: np.ndarray) -> np.ndarray:
    """4 t (1 - t): a parabola over [0, 1] with height 1, in place of a sine."""
    return 4.0 * t * (1.0 - t)


def noise(draws: Draws, height: float, width: float) -> np.ndarray:
    """Smooth value noise in [-1, 1): random values at the corners of cells of height x width pixels."""
    i, fv = _cells(np.arange(SIZE) / height + draws.array(1))
    j, fu = _cells(np.arange(SIZE) / width + draws.array(1))
    lattice = 2.0 * draws.array(i[-1] + 2, j[-1] + 2) - 1.0
    rows = lattice[i] + (lattice[i + 1] - lattice[i]) * fv[:, None]
    return rows[:, j] + (rows[:, j + 1] - rows[:, j]) * fu


def noise_at(draws: Draws, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The same noise at any coordinates, counted in cells, rather than on the grid of pixels."""
    (i, fv), (j, fu) = _cells(v - v.min()), _cells(u - u.min())
    lattice = 2.0 * draws.array(i.max() + 2, j.max() + 2) - 1.0
    above = lattice[i, j] + (lattice[i, j + 1] - lattice[i, j]) * fu
    below = lattice[i + 1, j] + (lattice[i + 1, j + 1] - lattice[i + 1, j]) * fu
    return above + (below - above) * fv


def _cells(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cell of every position and the smoothed place within it."""
    cell = np.floor(position)
    return cell.astype(np.int64), smoothstep(position - cell)


def clouds(draws: Draws, cell: float, octaves: int = 3) -> np.ndarray:
    """Noise of several scales, from `cell` pixels downwards, each half as strong as the one before."""
    total = noise(draws, cell, cell)
    for octave in range(1, octaves):
        finer = 1 << octave
        total = total + noise(draws, cell / finer, cell / finer) / finer
    return total


def lighting(draws: Draws, strength: float) -> np.ndarray:
    """A tilt of the light across the picture, a soft unevenness and an offset, for one picture."""
    across, down = draws.uniform(-strength, strength), draws.uniform(-strength, strength)
    tilt = across * (COLUMNS / SIZE - 0.5) + down * (ROWS / SIZE - 0.5)
    return tilt + draws.uniform(-0.5, 0.5) * strength + 0.4 * strength * clouds(draws, 140.0, 1)


def weave(draws: Draws) -> Scene:
    """Plain-woven linen: round threads that dive under each other, uneven in course and lightness."""
    period = draws.uniform(11.0, 13.0)
    skew = draws.uniform(-0.05, 0.05)
    phase = draws.array(2) * period
    v = (ROWS + skew * COLUMNS + phase[0] + 0.9 * clouds(draws, 40.0, 2)) / period
    u = (COLUMNS - skew * ROWS + phase[1] + 0.9 * clouds(draws, 40.0, 2)) / period
    i, j = np.floor(v), np.floor(u)
    fv, fu = v - i, u - j
    i, j = i.astype(np.int64) + 8, j.astype(np.int64) + 8
    # Both threads are round and wave up and down; whichever is higher is seen.
    wave = np.where((i + j) % 2 == 0, 0.5, -0.5)
    warp_height = 0.6 * bump(fu) + wave * bump(fv)
    weft_height = 0.6 * bump(fv) - wave * bump(fu)
    warp_on_top = warp_height > weft_height
    height = np.where(warp_on_top, warp_height, weft_height)
    # Light from the upper left; the fibres of a thread run along it.
    facing = np.where(warp_on_top, 0.5 - fu, 0.5 - fv)
    fibres = np.where(warp_on_top, noise(draws, 6.0, 1.2), noise(draws, 1.2, 6.0))
    thread_tone = 2.0 * draws.array(2, 64) - 1.0
    lightness = np.where(warp_on_top, thread_tone[0][j % 64], thread_tone[1][i % 64])
    tone = 0.22 + 0.44 * height + 0.10 * facing + 0.055 * fibres + 0.05 * lightness + lighting(draws, 0.14)
    return Scene(tone, np.where(warp_on_top, 0, 1))


def brushed(draws: Draws) -> Scene:
    """Brushed steel: long fine streaks in one direction under a broad, soft reflection."""
    slope = draws.uniform(-0.04, 0.04)
    rows = ROWS + slope * COLUMNS
    scale = draws.uniform(0.85, 1.2)
    streaks = np.zeros((SIZE, SIZE))
    for strength, thickness, length in (  # in tone; in pixels
        (0.050, 1.1, 60.0),
        (0.035, 2.2, 150.0),
        (0.030, 6.0, 260.0),
        (0.020, 1.0, 9.0),
    ):
        streaks = streaks + strength * noise_at(draws, rows / (thickness * scale), COLUMNS / (length * scale))
    # Now and then a deeper line of the brush.
    lines = smoothstep((noise_at(draws, rows / 1.6, COLUMNS / 110.0) - 0.55) * 3.0)
    centre, width = draws.uniform(20.0, 236.0), draws.uniform(90.0, 160.0)
    distance = np.abs(rows + 0.25 * (COLUMNS - SIZE / 2) + 6.0 * clouds(draws, 120.0, 1) - centre) / width
    reflection = smoothstep(1.0 - distance)
    tone = 0.42 + streaks - 0.10 * lines + 0.26 * reflection + lighting(draws, 0.12)
    return Scene(tone, np.zeros((SIZE, SIZE), np.int64))


def terrazzo(draws: Draws) -> Scene:
    """Polished terrazzo: angular chips of four kinds of marble, large and small, in a speckled cement."""
    speckle = noise(draws, 1.2, 1.2)
    tone = 0.64 + 0.085 * speckle + 0.075 * clouds(draws, 24.0, 2)
    material = np.zeros((SIZE, SIZE), np.int64)
    scale = draws.uniform(0.9, 1.15)
    for cell, share in ((13.0 * scale, 0.42), (37.0 * scale, 0.5)):
        inside, kind, shade = _chips(draws, cell, share)
        veins = clouds(draws, cell / 1.5, 3)
        chip_tone = 0.58 + 0.2 * shade + 0.1 * veins + 0.045 * speckle
        tone = np.where(inside, chip_tone, tone)
        material = np.where(inside, kind, material)
    return Scene(tone + lighting(draws, 0.18), material)


def _chips(draws: Draws, cell: float, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voronoi cells around jittered points, shrunk to leave gaps; a `share` of them are chips.

    Returns (SIZE, SIZE) arrays: inside a chip, its kind 1..4, and its shade in [-1, 1).
    """
    phase = draws.array(2)
    wobble = 0.05
    v = ROWS / cell + phase[0] + wobble * clouds(draws, cell / 3.0, 2)
    u = COLUMNS / cell + phase[1] + wobble * clouds(draws, cell / 3.0, 2)
    jitter = 0.1 + 0.8 * draws.array(2, 64, 64)
    kinds, shades, chosen = draws.array(3, 64, 64)
    i, j = np.floor(v).astype(np.int64), np.floor(u).astype(np.int64)
    nearest = np.full((SIZE, SIZE), 9.0)
    second = np.full((SIZE, SIZE), 9.0)
    owner = np.zeros((SIZE, SIZE), np.int64)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            ci, cj = (i + di) % 64, (j + dj) % 64
            y, x = i + di + jitter[0, ci, cj] - v, j + dj + jitter[1, ci, cj] - u
            distance = np.sqrt(y * y + x * x)
            closer = distance < nearest
            second = np.where(closer, nearest, np.minimum(second, distance))
            nearest = np.where(closer, distance, nearest)
            owner = np.where(closer, ci * 64 + cj, owner)
    # A margin of its own for each chip makes their sizes differ.
    margin = 0.08 + 0.22 * shades.ravel()[owner]
    inside = (chosen.ravel()[owner] < share) & (second - nearest > margin)
    kind = 1 + (kinds.ravel()[owner] * 4).astype(np.int64)
    return inside, kind, 2.0 * shades.ravel()[owner] - 1.0


# At most 80 colours each: the palette of a picture holds 128, and 48 belong to the defects.
TEXTURES: dict[str, Texture] = {
    "brushed": Texture(brushed, (Ramp(80, (46, 49, 54), (240, 242, 244)),)),
    "terrazzo": Texture(
        terrazzo,
        (
            Ramp(32, (100, 96, 89), (234, 230, 222)),
            Ramp(12, (176, 170, 158), (255, 253, 247)),
            Ramp(12, (56, 60, 65), (152, 156, 160)),
            Ramp(12, (118, 70, 46), (220, 168, 132)),
            Ramp(12, (16, 18, 24), (94, 96, 102)),
        ),
    ),
    "weave": Texture(
        weave, (Ramp(40, (50, 40, 30), (240, 226, 200)), Ramp(40, (46, 42, 36), (224, 214, 196)))
    ),
}
