"""Stage `views`: every image in a few rotations at several scales, one vector a view (DifferNet; CoMet 4.4).

A row is `(K, D)`: K views, and D the channels of all scales side by side. The angles are the same for every
image, so that an image at one angle is compared with others at that angle.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from adlib.base.code import code_version
from adlib.base.device import to_device
from adlib.base.rng import numpy_stream
from adlib.base.store import content_key
from adlib.config.networks import ViewParams
from adlib.data.images import resize_rgb
from adlib.data.manifest import Sample
from adlib.embedding.networks.backbones import Backbone, load_backbone
from adlib.embedding.recipe import Recipe, filled, half_precision, write_rows


def build_views(
    folder: str | Path,
    samples: Sequence[Sample],
    root: Path,
    params: ViewParams,
    *,
    keep_aspect: bool,
    device: torch.device,
) -> int:
    """Write the views' features of all samples to `folder`; see `write_rows`.

    Returns:
        The number of images that had to be embedded.
    """
    backbone = load_backbone(params.backbone, device)
    key = content_key(
        weights=backbone.weights_sha256,
        views=params.model_dump(mode="json", exclude={"batch_size": True, "backbone": {"weights", "sha256"}}),
        keep_aspect=keep_aspect,
        device=device.type,
        code=code_version("adlib.embedding.rotations"),
    )
    angles = view_angles(params.count, params.seed)
    blank = np.zeros((1, 1, 3), dtype=np.uint8)
    _, width = embed_views(backbone, 1, [rotated_views(blank, params.sizes, [0.0])])[0].shape
    recipe = Recipe[list[np.ndarray]](
        key,
        (params.count, width),
        # Views are no grid: there is nothing to draw a map from.
        {"grid": None, "image_size": max(params.sizes), "weights_sha256": backbone.weights_sha256},
        max(1, params.batch_size // params.count),
        frame=lambda rgb: rotated_views(rgb, params.sizes, angles, keep_aspect),
        embed=lambda frames: embed_views(backbone, params.batch_size, frames),
    )
    return write_rows(folder, samples, root, recipe)


def view_angles(count: int, seed: int) -> list[float]:
    """Degrees in [-180, 180), fixed by the seed and the view's number; the first is 0, the image itself."""
    drawn = [float(numpy_stream(seed, "views", str(k)).uniform(-180, 180)) for k in range(1, count)]
    return [0.0, *drawn]


def rotated_views(
    rgb: np.ndarray, sizes: Sequence[int], angles: Sequence[float], keep_aspect: bool = False
) -> list[np.ndarray]:
    """All views of an image: `(H, W, 3)` uint8 to one `(K, size, size, 3)` uint8 for each of `sizes`.

    The image is squashed to the square and turned about its centre, bilinearly; corners become black.
    """
    views = []
    for size in sizes:
        square = Image.fromarray(resize_rgb(rgb, size, keep_aspect))
        turned = [square.rotate(angle, Image.Resampling.BILINEAR) for angle in angles]
        views.append(np.stack([np.asarray(view) for view in turned]))
    return views


def embed_views(backbone: Backbone, batch_size: int, images: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Features of views: every level's mean over its positions, the levels of all scales side by side.

    Args:
        backbone: the network.
        batch_size: views that go through the network together.
        images: for each of B images its `rotated_views`.

    Returns:
        `(B, K, D)` float16.
    """
    scales = [np.concatenate(views) for views in zip(*images, strict=True)]  # each (B K, size, size, 3)
    pooled = torch.cat([_pooled(backbone, batch_size, views) for views in scales], dim=1)
    return half_precision(pooled.reshape(len(images), -1, pooled.shape[1]))


def _pooled(backbone: Backbone, batch_size: int, views: np.ndarray) -> torch.Tensor:
    """`(V, size, size, 3)` uint8 to `(V, C)`."""
    parts = []
    for start in range(0, len(views), batch_size):
        batch = views[start : start + batch_size]
        levels = backbone.levels(to_device(filled(batch, batch_size), backbone.device))
        parts.append(torch.cat([level.mean((2, 3)) for level in levels], dim=1)[: len(batch)])
    return torch.cat(parts)
