"""Five kinds of defect, painted over a texture's scene; the arithmetic is restricted as in `textures`.

Every function takes the defect-free scene and returns a `Flaw`: the new scene and the pixels the defect
covers. Sizes are in pixels, contrasts in units of tone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from adlib.samples.textures import COLUMNS, ROWS, SIZE, Draws, Ramp, Scene, bump, clouds, noise, smoothstep

# Materials of the defects; they follow the texture's own, so that they are counted from the end.
DEFECT_RAMPS = (
    Ramp(16, (18, 16, 15), (122, 117, 110)),
    Ramp(8, (70, 12, 14), (224, 70, 62)),
    Ramp(8, (16, 34, 86), (82, 130, 214)),
    Ramp(8, (10, 10, 12), (74, 72, 76)),
    Ramp(8, (150, 146, 136), (255, 252, 244)),
)
VOID = -len(DEFECT_RAMPS)
FIBRES = range(VOID + 1, 0)

# What a stain leaves of red, green and blue, in 1/256: coffee, oil, ink, rust, water.
TINTS = ((186, 146, 104), (152, 148, 126), (132, 158, 216), (206, 138, 92), (208, 212, 220))
UNTINTED = (256, 256, 256)


@dataclass(frozen=True)
class Flaw:
    """A scene with a defect, the pixels it covers, those seen through a stain, and the stain's tint."""

    scene: Scene
    covers: np.ndarray
    stained: np.ndarray
    tint: tuple[int, ...] = UNTINTED


def scratch(scene: Scene, draws: Draws) -> Flaw:
    """One to three long thin marks side by side, light or dark, each with a lip of the opposite shade."""
    tone, covers = scene.tone, np.zeros((SIZE, SIZE), bool)
    contrast = draws.sign() * draws.uniform(0.16, 0.42)
    middle, along = _place(draws, 56.0), _direction(draws)
    length, bow = draws.uniform(45.0, 190.0), draws.uniform(-0.18, 0.18)
    grain = noise(draws, 3.0, 3.0)
    for mark in range(1 + draws.below(3)):
        shift = mark * draws.uniform(6.0, 14.0)
        reach = length * draws.uniform(0.6, 1.0)
        distance, t, side = _near_curve(_arc(middle + shift * _across(along), along, reach, bow))
        half = 0.75 + draws.uniform(0.1, 1.1) * bump(t)
        core = distance < half
        lip = ~core & (side > 0) & (distance < half + 1.2)
        tone = np.where(core, tone + contrast * (0.8 + 0.3 * grain), tone)
        tone = np.where(lip & ~covers, tone - 0.45 * contrast, tone)
        covers = covers | core | lip
    return Flaw(Scene(tone, scene.material), covers, np.zeros_like(covers))


def hole(scene: Scene, draws: Draws) -> Flaw:
    """A ragged dark hole or shallow pit, its far wall in the light, with a raised rim."""
    radius, centre = draws.uniform(5.0, 19.0), _place(draws, 40.0)
    depth = _blob(draws, centre, radius, ragged=0.35)
    rim_width = draws.uniform(1.2, 3.5) / radius
    void, covers = depth < 1.0, depth < 1.0 + rim_width
    slant = ((ROWS - centre[0]) + (COLUMNS - centre[1])) / (2.0 * radius)
    shallow = draws.uniform(0.0, 0.55)
    inside = 0.25 + shallow + 0.3 * slant * np.minimum(depth, 1.0) + 0.12 * clouds(draws, 5.0, 2)
    rim = scene.tone + draws.uniform(0.08, 0.22) * np.clip(2.0 * slant, -1.0, 1.0) + 0.05
    tone = np.where(void, inside, np.where(covers, rim, scene.tone))
    return Flaw(Scene(tone, np.where(void, VOID, scene.material)), covers, np.zeros_like(covers))


def stain(scene: Scene, draws: Draws) -> Flaw:
    """A translucent blot of coffee, oil, ink, rust or water with a darker edge, some with splashes around."""
    radius, centre = draws.uniform(13.0, 46.0), _place(draws, 44.0)
    depth = _blob(draws, centre, radius, ragged=0.45)
    for _ in range(draws.below(4)):
        away = centre + radius * draws.uniform(1.1, 1.8) * _direction(draws)
        depth = np.minimum(depth, _blob(draws, away, radius * draws.uniform(0.08, 0.22), ragged=0.3))
    covers = depth < 1.0
    edge = smoothstep((depth - 0.72) / 0.28)
    fill = draws.uniform(-0.05, 0.02) + 0.04 * clouds(draws, 20.0, 2)
    tone = np.where(covers, scene.tone + fill - draws.uniform(0.03, 0.14) * edge, scene.tone)
    pure, strength = TINTS[draws.below(len(TINTS))], 116 + draws.below(140)
    tint = tuple(256 - (256 - channel) * strength // 256 for channel in pure)
    return Flaw(Scene(tone, scene.material), covers, covers, tint)


def cut(scene: Scene, draws: Draws) -> Flaw:
    """A nearly straight gash, widest in the middle, with a light and a dark lip; every third is shallow."""
    along, length = _direction(draws), draws.uniform(32.0, 110.0)
    points = _arc(_place(draws, 50.0), along, length, draws.uniform(-0.05, 0.05))
    distance, t, side = _near_curve(points)
    opening = 0.5 + draws.uniform(1.2, 4.4) * bump(t)
    lip = draws.uniform(1.0, 2.6) * (0.4 + 0.6 * bump(t))
    void, covers = distance < opening, distance < opening + lip
    if draws.below(3) == 0:
        inside, material = scene.tone * draws.uniform(0.4, 0.75), scene.material
    else:
        inside = 0.2 + 0.25 * side * distance / opening + 0.15 * noise(draws, 3.0, 3.0)
        material = np.where(void, VOID, scene.material)
    contrast = draws.uniform(0.05, 0.25) * draws.sign()
    tone = np.where(void, inside, np.where(covers, scene.tone + contrast * side, scene.tone))
    return Flaw(Scene(tone, material), covers, np.zeros_like(covers))


def fibre(scene: Scene, draws: Draws) -> Flaw:
    """A foreign thread lying on the surface in loose bends, with its shadow."""
    point, heading, step = _place(draws, 64.0), _direction(draws), draws.uniform(14.0, 32.0)
    walk = [point]
    for _ in range(5 + draws.below(6)):
        heading = heading + draws.uniform(-1.6, 1.6) * _across(heading)
        heading = heading / np.sqrt(heading[0] * heading[0] + heading[1] * heading[1])
        walk.append(walk[-1] + step * heading)
    points = _spline(np.stack(walk))
    distance, t, _ = _near_curve(points)
    half, turns = draws.uniform(0.9, 2.3), draws.uniform(20.0, 60.0)
    thread = distance < half
    depth, _, _ = _near_curve(points + draws.uniform(1.2, 3.0))
    shadow = ~thread & (depth < half + 0.6)
    twist = bump(t * turns - np.floor(t * turns))
    round_tone = 0.2 + 0.5 * (1.0 - distance / half) + 0.25 * twist
    tone = np.where(thread, round_tone, scene.tone - draws.uniform(0.06, 0.18) * shadow)
    colour = FIBRES[draws.below(len(FIBRES))]
    covers = thread | shadow
    return Flaw(Scene(tone, np.where(thread, colour, scene.material)), covers, np.zeros_like(covers))


DEFECTS: dict[str, Callable[[Scene, Draws], Flaw]] = {
    "cut": cut,
    "fibre": fibre,
    "hole": hole,
    "scratch": scratch,
    "stain": stain,
}


def _place(draws: Draws, border: float) -> np.ndarray:
    """A point (row, column) at least `border` pixels inside the picture."""
    return border + (SIZE - 2.0 * border) * draws.array(2)


def _direction(draws: Draws) -> np.ndarray:
    """A unit vector (row, column), uniform over the circle: by rejection, which needs no sine."""
    while True:
        vector = 2.0 * draws.array(2) - 1.0
        square = vector[0] * vector[0] + vector[1] * vector[1]
        if 0.01 < square <= 1.0:
            return vector / np.sqrt(square)


def _across(along: np.ndarray) -> np.ndarray:
    return np.array([-along[1], along[0]])


def _blob(draws: Draws, centre: np.ndarray, radius: float, ragged: float) -> np.ndarray:
    """(SIZE, SIZE) distance from a centre in units of a radius, stretched a little and roughened by noise."""
    along, stretch = _direction(draws), draws.uniform(1.0, 1.5)
    y, x = ROWS - centre[0], COLUMNS - centre[1]
    a, b = (y * along[0] + x * along[1]) / stretch, (x * along[0] - y * along[1]) * stretch
    distance = np.sqrt(a * a + b * b) / radius
    return distance + ragged * distance * clouds(draws, max(4.0, radius), 3) / 1.75


def _arc(middle: np.ndarray, along: np.ndarray, length: float, bow: float) -> np.ndarray:
    """Points of a parabola whose chord has this middle, direction and length, bent by `bow` of its length."""
    t = (np.arange(25) / 24.0)[:, None]
    return middle + length * ((t - 0.5) * along + bow * bump(t) * _across(along))


def _spline(control: np.ndarray, steps: int = 6) -> np.ndarray:
    """Points (row, column) of the uniform cubic B-spline over (n >= 4, 2) controls, `steps` to a span."""
    t = (np.arange(steps) / float(steps))[:, None]
    s = 1.0 - t
    near_a, near_d = s * s * s, t * t * t
    near_b, near_c = 4.0 - 3.0 * t * t * (1.0 + s), 4.0 - 3.0 * s * s * (1.0 + t)
    spans = zip(control, control[1:], control[2:], control[3:], strict=False)
    return np.concatenate([(near_a * a + near_b * b + near_c * c + near_d * d) / 6.0 for a, b, c, d in spans])


def _near_curve(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every pixel: distance to the polyline (n, 2), place along it in [0, 1], and side, -1 or 1."""
    nearest = np.full((SIZE, SIZE), 4.0 * SIZE * SIZE)
    place, side = np.zeros((SIZE, SIZE)), np.ones((SIZE, SIZE))
    for k, (start, end) in enumerate(pairwise(points)):
        dy, dx = end - start
        y, x = ROWS - start[0], COLUMNS - start[1]
        share = np.clip((y * dy + x * dx) / (dy * dy + dx * dx), 0.0, 1.0)
        gap_y, gap_x = y - share * dy, x - share * dx
        square = gap_y * gap_y + gap_x * gap_x
        closer = square < nearest
        nearest = np.where(closer, square, nearest)
        place = np.where(closer, (k + share) / (len(points) - 1.0), place)
        side = np.where(closer, np.where(y * dx - x * dy > 0, 1.0, -1.0), side)
    return np.sqrt(nearest), place, side
