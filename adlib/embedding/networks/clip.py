"""Frozen CLIP towers through open_clip: tokens of chosen blocks, at another image size than was trained on.

The model is never changed: the position grid is resized on the fly (open_clip's own resize is bicubic with
antialias and rewrites the model; AF-CLIP's is bilinear without), and nothing in it takes a gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from adlib.data.images import resize_rgb
from adlib.embedding.networks.identity import WeightsError

SIZE = 518
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
BLOCKS = {"ViT-L-14-336": (6, 12, 18, 24), "ViT-B-16": (3, 6, 9, 12), "ViT-B-32": (3, 6, 9, 12)}
Through = Callable[[int, nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class Clip:
    """A frozen CLIP model.

    Attributes:
        model: open_clip's.
        text: its text tower, as `adlib.learning.heads.prompts.TextTower` describes it.
        weights_sha256: of the checkpoint file, or of random weights themselves.
        quick_gelu: whether its activations are QuickGELU.
    """

    model: Any
    text: Any
    weights_sha256: str
    quick_gelu: bool

    def tokens(self, pixels: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Tokens after some blocks (see `token_taps`); no gradient."""
        with torch.no_grad():
            return token_taps(self.model.visual, pixels, blocks)

    def project(self, tokens: Tensor) -> Tensor:
        """CLIP's `ln_post` and visual projection, AF-CLIP eq. 7: `(..., D)` to `(..., E)`, differentiable."""
        visual = self.model.visual
        return visual.ln_post(tokens) @ visual.proj

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        """Token ids `(P, L)` of some texts, padded with 0 to the context length."""
        return open_clip_module().tokenize(list(texts), context_length=self.text.context_length)


def clip_frame(rgb: np.ndarray, size: int = SIZE, keep_aspect: bool = False) -> np.ndarray:
    """`(H, W, 3)` uint8 to `(size, size, 3)` uint8 as `resize_rgb`, but bicubic, as CLIP was trained."""
    return resize_rgb(rgb, size, keep_aspect, Image.Resampling.BICUBIC)


def clip_pixels(frames: Tensor) -> Tensor:
    """Normalise `(B, H, W, 3)` uint8 with CLIP's mean and standard deviation: `(B, 3, H, W)` float32."""
    mean, std = (torch.tensor(values, device=frames.device).reshape(3, 1, 1) for values in (MEAN, STD))
    return (frames.permute(0, 3, 1, 2).float() / 255 - mean) / std


def interpolate_positions(embedding: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize a position embedding to another grid: bilinear, no antialias; the class row stays as it is.

    Args:
        embedding: `(1 + n^2, D)`, the class token's row first.
        grid: rows and columns of patches.

    Returns:
        `(1 + rows * columns, D)`; the embedding that came in where the grid is its own.
    """
    rest, D = embedding.shape[0] - 1, embedding.shape[1]
    side = isqrt(rest)
    if side**2 != rest:
        raise ValueError(f"embedding: its {rest} patch rows do not fill a square grid")
    if grid == (side, side):
        return embedding
    square = embedding[1:].reshape(1, side, side, D).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=grid, mode="bilinear", align_corners=False, antialias=False)
    return torch.cat([embedding[:1], resized[0].flatten(1).T])


def token_taps(
    visual: Any, pixels: Tensor, blocks: Sequence[int], through: Through | None = None
) -> list[Tensor]:
    """Class and patch tokens after some transformer blocks, AF-CLIP eq. 2.

    Args:
        visual: an open_clip `VisionTransformer`.
        pixels: `(B, 3, H, W)`, normalised; both sides multiples of the patch size.
        blocks: which, counted from 1, increasing.
        through: takes tokens through a block instead, and may append some (`adlib.tools.tuning_ways`).

    Returns:
        One `(B, 1 + N, D)` a block, before `ln_post`.
    """
    depth = len(visual.transformer.resblocks)
    if not blocks or list(blocks) != sorted(set(blocks)) or not 1 <= blocks[0] <= blocks[-1] <= depth:
        raise ValueError(f"blocks: must increase within 1 .. {depth}, got {list(blocks)}")
    height, width = visual.conv1.kernel_size
    B, _, H, W = pixels.shape
    if H % height or W % width:
        raise ValueError(f"pixels: sides must be multiples of the patch {height} x {width}, got {H} x {W}")
    patches = visual.conv1(pixels).flatten(2).transpose(1, 2)
    tokens = torch.cat([visual.class_embedding.to(patches).expand(B, 1, -1), patches], dim=1)
    positions = interpolate_positions(visual.positional_embedding, (H // height, W // width))
    x = visual.ln_pre(tokens + positions.to(tokens))
    taps = []
    for number, block in enumerate(visual.transformer.resblocks[: blocks[-1]], start=1):
        x = through(number, block, x) if through else block(x)
        if number in blocks:
            taps.append(x[:, : tokens.shape[1]])
    return taps


def open_clip_module() -> Any:
    """The package open_clip, imported when CLIP is needed. Raises WeightsError where it is not installed."""
    try:
        import open_clip
    except ImportError:
        raise WeightsError(
            "CLIP needs the package open_clip_torch; install it with: pip install 'adlib[clip]'"
        ) from None
    return open_clip
