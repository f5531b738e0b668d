"""Embeddings on both sides: the networks of the methods with random weights, the same on every machine."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from adlib.config.networks import BackboneParams, NetworkParams
from adlib.embedding.networks.backbones import load_backbone
from adlib.embedding.patches import embed_images
from adlib.embedding.rotations import embed_views, rotated_views
from benchmarks.cuda_parts.compare import FLOAT32, MIXED, row_differences, verdict
from benchmarks.cuda_parts.isolation import NO_GPU, Row, attempt
from benchmarks.cuda_parts.roles import BASE, Side, missing_sides, other_sides, running

Embed = Callable[[torch.device], np.ndarray]


def backbone_params(name: str, batch: int, width: int | None = None) -> BackboneParams:
    """A timm network of random weights: layers 2 and 3, as SimpleNet and PatchCore see it."""
    return BackboneParams(
        name=name, out_indices=(2, 3), weights="random", sha256=None, patch_size=3,
        pretrain_dim=width, target_dim=width, batch_size=batch,
    )  # fmt: skip


def pictures(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Coloured noise, coarse and fine: `(count, size, size, 3)` uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 200, (count, size // 8, size // 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
    coarse = np.pad(coarse, ((0, 0), (0, size % 8), (0, size % 8), (0, 0)), mode="edge")
    return (coarse + rng.uniform(0, 55, (count, size, size, 3))).astype(np.uint8)


def network_rows(small: bool) -> Iterator[Row]:
    """timm's networks and AlexNet."""
    size = 64 if small else 256
    wide = ("resnet18", 32) if small else ("wide_resnet50_2", 1536)
    images = pictures(2, size)

    def patches(name: str, width: int | None) -> Embed:
        params = backbone_params(name, batch=2, width=width)
        return lambda device: embed_images(load_backbone(params, device), params, images)

    def views(device: torch.device) -> np.ndarray:
        network = NetworkParams(name="alexnet", out_indices=(12,), weights="random", sha256=None)
        sizes = [96, 64] if small else [448, 224, 112]
        turned = [rotated_views(image, sizes, [0.0, 30.0]) for image in images]
        return embed_views(load_backbone(network, device), 4, turned)

    yield from compared(f"{wide[0]}, {size} px", patches(*wide))
    yield from compared(f"efficientnet_lite0, {size} px", patches("efficientnet_lite0", None))
    yield from compared("alexnet, views", views)


def clip_rows(small: bool) -> Iterator[Row]:
    """CLIP's tokens: ViT-L/14@336 at 518 pixels."""
    from adlib.embedding.networks.clip_loading import load_clip
    from adlib.embedding.tokens import embed_tokens
    from benchmarks.cuda_parts.clip import tower_params

    params = tower_params(small).clip
    images = pictures(2, params.image_size)
    # Once: a large tower takes seconds to be drawn, and more to be hashed.
    loaded: list[Any] = []

    def tokens(device: torch.device) -> np.ndarray:
        loaded[:] = loaded or [load_clip(params.name, "random")]
        loaded[0].model.to(device)
        return embed_tokens(loaded[0], params, images)

    yield from compared(f"{params.name}, {params.image_size} px", tokens)


def compared(what: str, embed: Embed) -> Iterator[Row]:
    """Rows of one embedding."""
    base: list[np.ndarray] = []

    def make(side: Side, how: str) -> Row:
        if not base:
            with running(BASE):
                base.append(embed(BASE.device))
        with running(side):
            found = embed(side.device)
        largest = float(np.abs(base[0]).max())
        if not np.isfinite(found).all() or not 0 < largest < 6e4:
            return Row(
                what, how, "failed: rows are not finite, or at the end of float16", {"largest": largest}
            )
        status, values = verdict(row_differences(found, base[0]), MIXED if side.mixed else FLOAT32)
        return Row(what, how, status, values | {"largest": largest})

    for side in other_sides():
        how = f"cpu against {side.name}"
        yield attempt(what, how, lambda side=side, how=how: make(side, how))
    for name in missing_sides():
        yield Row(what, f"cpu against {name}", NO_GPU)
