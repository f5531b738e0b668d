"""Stage `features`: images through the frozen backbone, each once, shared by every experiment.

A row depends on the image's bytes, the backbone with its weights and the preprocessing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from adlib.base.code import code_version
from adlib.base.device import to_device
from adlib.base.store import content_key
from adlib.config.networks import BackboneParams
from adlib.data.images import resize_rgb
from adlib.data.manifest import Sample
from adlib.embedding.neighbourhoods import embed_patches
from adlib.embedding.networks.backbones import Backbone, load_backbone
from adlib.embedding.recipe import Recipe, filled, half_precision, write_rows


def build_features(
    folder: str | Path,
    samples: Sequence[Sample],
    root: Path,
    params: BackboneParams,
    *,
    image_size: int,
    keep_aspect: bool,
    device: torch.device,
) -> int:
    """Write the patch features of all samples to `folder`; see `write_rows`.

    Returns:
        The number of images that had to be embedded.
    """
    recipe = patch_recipe(params, image_size=image_size, keep_aspect=keep_aspect, device=device)
    return write_rows(folder, samples, root, recipe)


def patch_recipe(
    params: BackboneParams, *, image_size: int, keep_aspect: bool, device: torch.device
) -> Recipe[np.ndarray]:
    """How patch features are made; the batch size and the place of the weights are no part of its key."""
    backbone = load_backbone(params, device)
    key = content_key(
        weights=backbone.weights_sha256,
        backbone=params.model_dump(mode="json", exclude={"batch_size", "weights", "sha256"}),
        image_size=image_size,
        keep_aspect=keep_aspect,
        device=device.type,
        code=code_version("adlib.embedding.patches"),
    )
    grid, width = _layout(backbone, params, image_size)
    return Recipe[np.ndarray](
        key,
        (grid[0] * grid[1], width),
        {
            "grid": grid,
            "image_size": image_size,
            "weights_sha256": backbone.weights_sha256,
            # Enough to embed another image in the same way: `adlib predict` finds it in a fit's folder.
            "embedding": {"backbone": params.model_dump(mode="json"), "keep_aspect": keep_aspect},
        },
        params.batch_size,
        frame=lambda rgb: resize_rgb(rgb, image_size, keep_aspect),
        embed=lambda frames: embed_images(backbone, params, np.stack(frames)),
    )


def embed_images(backbone: Backbone, params: BackboneParams, images: np.ndarray) -> np.ndarray:
    """Patch features of images: `(B, H, W, 3)` uint8 to `(B, N, D)` float16."""
    levels = backbone.levels(to_device(filled(images, params.batch_size), backbone.device))
    patches = embed_patches(levels, params.pretrain_dim, params.target_dim, params.patch_size)
    return half_precision(patches[: len(images)].flatten(1, 2))


def _layout(backbone: Backbone, params: BackboneParams, image_size: int) -> tuple[tuple[int, int], int]:
    """The grid of patches and their width, found with one blank image."""
    blank = torch.zeros((1, image_size, image_size, 3), dtype=torch.uint8, device=backbone.device)
    levels = backbone.levels(blank)
    _, H, W, D = embed_patches(levels, params.pretrain_dim, params.target_dim, params.patch_size).shape
    return (H, W), D
