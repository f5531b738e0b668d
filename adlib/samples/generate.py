"""The project's own sample set: synthetic textures with exact defect masks, in MVTec-AD's layout.

`python -m adlib.samples.generate OUT` writes `OUT/<texture>/{train/good, test/good, test/<defect>}/NNN.png`
and, for every defective picture, `OUT/<texture>/ground_truth/<defect>/NNN_mask.png` (0/255). A mask marks
the pixels that differ from the same picture without its defect, no more and no fewer.

The same seed gives the same pixels on every machine, because of two things: the random numbers are PCG64's
raw stream under a SHA-256 seed, and the pictures use exactly rounded arithmetic only (see `textures`). Pillow
packs the PNG files, whose bytes may differ between its versions: the committed set stays as it is.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adlib.base.files import atomic_directory
from adlib.base.rng import stream_seed
from adlib.samples.defects import DEFECT_RAMPS, DEFECTS, UNTINTED
from adlib.samples.textures import TEXTURES, Draws, Ramp, Scene

GOOD = "good"
TRAIN_GOOD, TEST_GOOD, TEST_OF_A_DEFECT = 30, 10, 5

README = """# Sample textures

Synthetic pictures of brushed steel, terrazzo and linen, 256 x 256, with five kinds of defect (cut, fibre,
hole, scratch, stain) and exact pixel masks, in MVTec-AD's folder layout: for each texture 30 normal
pictures to train on, 10 normal and 25 defective ones to test on. Drawn by `adlib/samples/generate.py` without
any photograph.

Licence: CC0 1.0 (public domain), https://creativecommons.org/publicdomain/zero/1.0/

To draw them again, pixel for pixel: `python -m adlib.samples.generate samples`
"""


@dataclass(frozen=True)
class Item:
    """One picture of the set."""

    texture: str
    split: str
    kind: str
    number: int

    @property
    def image_path(self) -> str:
        """Path below the set's folder."""
        return f"{self.texture}/{self.split}/{self.kind}/{self.number:03}.png"

    @property
    def mask_path(self) -> str | None:
        """Path of the mask below the set's folder; None for a normal picture."""
        if self.kind == GOOD:
            return None
        return f"{self.texture}/ground_truth/{self.kind}/{self.number:03}_mask.png"


def items() -> list[Item]:
    """All pictures of the set, in the order of their paths within each texture."""
    groups = [("train", GOOD, TRAIN_GOOD), ("test", GOOD, TEST_GOOD)]
    groups += [("test", defect, TEST_OF_A_DEFECT) for defect in DEFECTS]
    return [
        Item(texture, split, kind, number)
        for texture in TEXTURES
        for split, kind, count in groups
        for number in range(count)
    ]


def draw(item: Item, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture and its defect-free twin as (256, 256) uint8 palette indices, and their (N, 3) palette."""
    texture = TEXTURES[item.texture]
    ramps = texture.ramps + DEFECT_RAMPS
    scene = texture.paint(Draws(stream_seed(seed, "samples", item.image_path)))
    clean = _quantise(scene, ramps)
    if item.kind == GOOD:
        return clean, clean, _palette(ramps, UNTINTED)
    flaw = DEFECTS[item.kind](scene, Draws(stream_seed(seed, "samples", item.image_path, "defect")))
    colours = sum(ramp.levels for ramp in ramps)
    flawed = _quantise(flaw.scene, ramps) + (colours * flaw.stained).astype(np.uint8)
    # Where the change is lost in rounding, step to the neighbouring colour: what a defect covers, it changes.
    # Ramps start and end at even places, so that the last bit never leads into another one.
    flawed = np.where(flawed == clean, flawed ^ 1, flawed)
    return np.where(flaw.covers, flawed, clean), clean, _palette(ramps, flaw.tint)


def generate(root: str | Path, seed: int = 0) -> None:
    """Write the whole set to `root`, or nothing: it is built under a temporary name and renamed.

    An earlier set at `root` is replaced. Raises FileExistsError if `root` holds anything else.
    """
    root = Path(root)
    _refuse_foreign_files(root)
    with atomic_directory(root) as folder:
        (folder / "README.md").write_bytes(README.encode())
        for item in items():
            flawed, clean, palette = draw(item, seed)
            picture = Image.fromarray(flawed)
            picture.putpalette(palette.tobytes())
            _save(picture, folder / item.image_path)
            if item.mask_path:
                changed = (palette[flawed] != palette[clean]).any(axis=2)
                _save(Image.fromarray(changed.astype(np.uint8) * 255), folder / item.mask_path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: `python -m adlib.samples.generate OUT [--seed N]`."""
    parser = argparse.ArgumentParser("python -m adlib.samples.generate", description="Draw the samples.")
    parser.add_argument("out", type=Path, help="folder to write; an earlier sample set there is replaced")
    parser.add_argument("--seed", type=int, default=0, help="0, the default, draws the committed set")
    options = parser.parse_args(arguments)
    try:
        generate(options.out, options.seed)
    except FileExistsError as error:
        parser.error(str(error))


def _quantise(scene: Scene, ramps: tuple[Ramp, ...]) -> np.ndarray:
    """Palette index of every pixel: the start of its material's ramp plus the level of its tone."""
    levels = np.array([ramp.levels for ramp in ramps])
    starts = np.cumsum(levels) - levels
    highest = levels[scene.material] - 1
    level = np.clip(np.floor(scene.tone * levels[scene.material]).astype(np.int64), 0, highest)
    return (starts[scene.material] + level).astype(np.uint8)


def _palette(ramps: tuple[Ramp, ...], tint: tuple[int, ...]) -> np.ndarray:
    """The colours of all ramps, then the same colours seen through a stain of this tint (in 1/256)."""
    colours = []
    for ramp in ramps:
        dark, light = np.array(ramp.dark), np.array(ramp.light)
        step = np.arange(ramp.levels)[:, None]
        colours.append(dark + (light - dark) * step // (ramp.levels - 1))
    clear = np.concatenate(colours)
    return np.concatenate([clear, clear * np.array(tint) // 256]).astype(np.uint8)


def _refuse_foreign_files(root: Path) -> None:
    """Raise FileExistsError if `root` holds a file that this generator would not write."""
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"{root} is a file; name a new folder.")
    ours = {"README.md"}
    for item in items():
        ours |= {item.image_path, item.mask_path or item.image_path}
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}
    foreign = sorted(found - ours)
    if foreign:
        raise FileExistsError(
            f"{root} holds {len(foreign)} files that are no part of the sample set (first: {foreign[0]}); "
            "name a new folder, or move them away."
        )


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


if __name__ == "__main__":
    main()
