"""Stage `clip`: every image's tokens after some blocks of a frozen CLIP tower, for the method `afclip`.

A row is `(L (1 + N), D)`: for each of L blocks the class token, then the N patches of the grid. Where a
category's rows would take more than `clip.max_gb`, none are written: training and scoring then make each
anew from its image, to the same float16 numbers.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
import torch

from adlib.base.code import code_version
from adlib.base.device import mixed_precision, to_device
from adlib.base.errors import UserError
from adlib.base.progress import say
from adlib.base.store import content_key
from adlib.config.networks import ClipParams
from adlib.data.manifest import Sample
from adlib.embedding.networks.clip import BLOCKS, Clip, clip_frame, clip_pixels
from adlib.embedding.networks.clip_loading import load_clip
from adlib.embedding.recipe import Recipe, filled, half_precision, write_no_rows, write_rows


def open_clip_tower(params: ClipParams, device: torch.device) -> Clip:
    """The CLIP model of params.yaml, loaded once per process.

    Raises:
        UserError: `weights` is not set; else as `load_clip`.
    """
    if params.weights is None:
        raise UserError(
            "clip.weights: afclip needs CLIP's weights, got null; name a local checkpoint and its "
            "clip.sha256, or random for a trial of the route"
        )
    return _loaded(params.name, params.weights, params.sha256, device)


@lru_cache(maxsize=1)
def _loaded(name: str, weights: str, sha256: str | None, device: torch.device) -> Clip:
    return load_clip(name, weights, sha256, device=device)


def chosen_blocks(params: ClipParams) -> tuple[int, ...]:
    """The blocks whose tokens are taken, counted from 1.

    Raises:
        UserError: `blocks` is null and nobody has chosen any for this model.
    """
    if params.blocks is None and params.name not in BLOCKS:
        raise UserError(
            f"clip.blocks: null is known for {', '.join(BLOCKS)} only, got {params.name}; name some, for "
            "example four at equal distances up to the last"
        )
    return params.blocks or BLOCKS[params.name]


def build_tokens(
    folder: str | Path,
    samples: Sequence[Sample],
    root: Path,
    params: ClipParams,
    *,
    keep_aspect: bool,
    device: torch.device,
) -> int | None:
    """Write the tokens of all samples to `folder` if they fit into `max_gb`; their size is printed first.

    Returns:
        The number of images that had to be embedded; None where the rows are too many to be written.
    """
    recipe = token_recipe(params, keep_aspect=keep_aspect, device=device)
    gigabytes = 2 * len(samples) * prod(recipe.shape) / 1e9
    size = f"{len(samples)} images of {prod(recipe.shape) * 2 / 1e6:.3g} MB each, {gigabytes:.3g} GB in all"
    if gigabytes > params.max_gb:
        say(f"CLIP tokens: {size}, above clip.max_gb = {params.max_gb:g}: streamed, nothing is written")
        write_no_rows(folder, samples, recipe)
        return None
    say(f"CLIP tokens: {size}, up to three times that with the store and DVC's cache")
    return write_rows(folder, samples, root, recipe)


def token_recipe(params: ClipParams, *, keep_aspect: bool, device: torch.device) -> Recipe[np.ndarray]:
    """How tokens are made; the size in memory and the place of the weights are no part of its key.

    Raises:
        UserError: blocks that the tower does not have, or an image size that its patches do not fill.
    """
    clip, blocks, size = open_clip_tower(params, device), chosen_blocks(params), params.image_size
    visual = clip.model.visual
    depth, (height, width) = len(visual.transformer.resblocks), visual.conv1.kernel_size
    if blocks[-1] > depth:
        raise UserError(f"clip.blocks: {params.name} has blocks 1 .. {depth}, got {list(blocks)}")
    if size % height or size % width:
        raise UserError(
            f"clip.image_size: must be a multiple of {params.name}'s patch, {height} x {width}, got {size}"
        )
    key = content_key(
        weights=clip.weights_sha256,
        quick_gelu=clip.quick_gelu,
        name=params.name,
        blocks=blocks,
        image_size=size,
        keep_aspect=keep_aspect,
        device=device.type,
        code=code_version("adlib.embedding.tokens"),
    )
    grid = (size // height, size // width)
    tokens, D = embed_tokens(clip, params, np.zeros((1, size, size, 3), dtype=np.uint8))[0].shape
    info = {
        "grid": grid,
        "image_size": size,
        "weights_sha256": clip.weights_sha256,
        "embedding": {"clip": params.model_dump(mode="json"), "keep_aspect": keep_aspect},
    }
    return Recipe[np.ndarray](
        key,
        (tokens, D),
        info,
        params.batch_size,
        frame=lambda rgb: clip_frame(rgb, size, keep_aspect),
        embed=lambda frames: embed_tokens(clip, params, np.stack(frames)),
    )


def embed_tokens(clip: Clip, params: ClipParams, images: np.ndarray) -> np.ndarray:
    """Tokens of images: `(B, S, S, 3)` uint8 to `(B, L (1 + N), D)` float16, on the model's device."""
    device = next(clip.model.parameters()).device
    pixels = clip_pixels(to_device(filled(images, params.batch_size), device))
    with mixed_precision(device):
        taps = clip.tokens(pixels, chosen_blocks(params))
    return half_precision(torch.cat(taps, dim=1)[: len(images)].float())
