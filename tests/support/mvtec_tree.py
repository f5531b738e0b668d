"""Small trees in MVTec-AD's layout for tests."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 12


def write_image(path: Path, seed: int) -> Path:
    """A random grey picture, another one for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, defective: int = 5, side: int = SIDE) -> Path:
    """A mask with `defective` pixels set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(side * side, dtype=np.uint8)
    pixels[:defective] = 255
    Image.fromarray(pixels.reshape(side, side)).save(path)
    return path


def write_tree(
    root: Path,
    category: str = "bottle",
    *,
    train: int = 4,
    good: int = 3,
    defects: Mapping[str, int] | None = None,
    masks: bool = True,
) -> Path:
    """Folders `train/good`, `test/good` and one for each defect, without two images alike."""
    base = root / category
    seed = sum(category.encode()) * 1000
    folders = {"train/good": train, "test/good": good}
    folders |= {f"test/{defect}": count for defect, count in (defects or {"crack": 3, "hole": 2}).items()}
    for folder, count in folders.items():
        (base / folder).mkdir(parents=True)
        for number in range(count):
            seed += 1
            write_image(base / folder / f"{number:03}.png", seed)
            if masks and folder not in ("train/good", "test/good"):
                defect = folder.removeprefix("test/")
                write_mask(base / "ground_truth" / defect / f"{number:03}_mask.png", 5 + number)
    return base
