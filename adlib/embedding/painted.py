"""Patch features of painted copies of images (`painting`), rows as in `patches`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from adlib.base.code import code_version
from adlib.base.store import content_key
from adlib.config.networks import BackboneParams
from adlib.data.manifest import Sample
from adlib.embedding.painting import Painting, painted
from adlib.embedding.patches import patch_recipe
from adlib.embedding.recipe import Recipe, write_rows


def build_painted(
    folder: str | Path,
    samples: Sequence[Sample],
    root: Path,
    params: BackboneParams,
    defects: int,
    *,
    image_size: int,
    keep_aspect: bool,
    device: torch.device,
) -> int:
    """Write the patch features of a copy of every sample, with `defects` defects, to `folder`.

    Patches that are not painted for the most part are NaN: they are no features of a defect.

    Returns:
        The number of images that had to be painted and embedded.
    """
    plain = patch_recipe(params, image_size=image_size, keep_aspect=keep_aspect, device=device)

    def embed(copies: list[Painting]) -> np.ndarray:
        rows = plain.embed([copy.rgb for copy in copies])
        rows[[~mostly(copy.covered, plain.info["grid"]).ravel() for copy in copies]] = np.nan
        return rows

    recipe = Recipe[Painting](
        content_key(plain=plain.key, defects=defects, code=code_version("adlib.embedding.painted")),
        plain.shape,
        plain.info,
        plain.block,
        frame=lambda rgb: painted(plain.frame(rgb), defects),
        embed=embed,
    )
    return write_rows(folder, samples, root, recipe)


def mostly(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Which cells of a grid are covered by more than a half: `(H, W)` bool to `grid` bool."""
    shares = Image.fromarray(mask.astype(np.float32)).resize((grid[1], grid[0]), Image.Resampling.BOX)
    return np.asarray(shares) > 0.5
