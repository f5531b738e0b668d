"""What a frozen network makes of one image, block by block, as maps: `adlib explain`.

With CLIP: the attention of the class token, and how probably a patch is anomalous by the tokens of that block
alone. With any other backbone: how unlike the rest of the image a patch is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from adlib.base.errors import UserError
from adlib.base.files import atomic_path, write_json
from adlib.config.params import load_params
from adlib.data.images import resize_rgb
from adlib.embedding.networks.backbones import Backbone, load_backbone
from adlib.embedding.networks.clip import Clip, clip_frame, clip_pixels, token_taps
from adlib.embedding.networks.clip_loading import load_clip
from adlib.evaluation.maps import pixel_maps
from adlib.evaluation.pictures import overlay, stretch
from adlib.fits.files import MODEL
from adlib.learning.heads.adaptor import AnomalyAdaptor
from adlib.learning.heads.prompts import STATES, prompt_features
from adlib.learning.heads.states import abnormal_probability
from adlib.learning.heads.tokens import aggregate_neighbours
from adlib.tools.released import check_widths
from adlib.tools.tuning_cost import WINDOWS, quarters

CLIP_SIZE = 518  # pixels, as in AF-CLIP


@dataclass(frozen=True, slots=True)
class PatchMap:
    """One picture: what it shows, of which block or level ("all" for their sum), and `(h, w)` values."""

    kind: str
    block: str
    values: np.ndarray


@dataclass(frozen=True)
class Learned:
    """What AF-CLIP learned: the adaptor, and the prompts' vectors `(n, W)`."""

    adaptor: AnomalyAdaptor
    vectors: Tensor


@dataclass(frozen=True, slots=True)
class Explained:
    """The maps of one image, the frame `(S, S, 3)` they lie on, and the network with its weights' sha256."""

    network: str
    weights: str
    frame: np.ndarray
    maps: list[PatchMap]


def explain_with_clip(
    rgb: np.ndarray,
    name: str,
    weights: str,
    *,
    sha256: str | None = None,
    model: Path | None = None,
    image_size: int | None = None,
) -> Explained:
    """The maps of a quarter, a half, three quarters and all of a CLIP tower's blocks.

    Args:
        rgb: `(H, W, 3)` uint8.
        name: open_clip's.
        weights: a local checkpoint, or `random` for a trial of the route.
        model: of AF-CLIP, see `read_learned`; None for CLIP as it is.

    Raises:
        UserError: no weights, a size that is no multiple of the patch, or a model of another tower.
    """
    if not weights:
        raise UserError("--weights: name a local checkpoint of CLIP, or random for a trial of the route")
    tower = load_clip(name, weights, sha256)
    size, patch = image_size or CLIP_SIZE, tower.model.visual.conv1.kernel_size[0]
    if size % patch:
        raise UserError(f"--image-size: must be a multiple of {name}'s patch {patch}, got {size}")
    frame = clip_frame(rgb, size)
    learned = read_learned(model) if model else None
    maps = clip_maps(tower, frame, quarters(name, tower.model.visual), learned)
    return Explained(name, "random" if weights == "random" else tower.weights_sha256, frame, maps)


def explain_with_backbone(rgb: np.ndarray, *, image_size: int | None = None) -> Explained:
    """The maps of the levels of the backbone that params.yaml names."""
    params = load_params()
    frame = resize_rgb(rgb, image_size or params.image_size, params.keep_aspect)
    backbone = load_backbone(params.backbone, torch.device("cpu"))
    maps = backbone_maps(backbone, frame, params.backbone.out_indices)
    return Explained(params.backbone.name, backbone.weights_sha256, frame, maps)


def read_learned(path: Path) -> Learned:
    """Adaptor and prompts out of a model's folder, or of a file of `adlib weights convert-afclip`.

    Raises:
        UserError: there are none.
    """
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"--model: no file {file}; name a model of afclip or a converted release")
    tensors = load_file(file)
    own = {
        name.removeprefix("adaptor."): tensor
        for name, tensor in tensors.items()
        if name.startswith("adaptor.")
    }
    if not own or not {"heads", "prompts.vectors"} <= tensors.keys():
        raise UserError(f"--model: {file} holds no adaptor and prompts of AF-CLIP, got {', '.join(tensors)}")
    inner, dim = own["to_q.weight"].shape
    heads = int(tensors["heads"])
    adaptor = AnomalyAdaptor(dim, heads, inner // heads)
    adaptor.load_state_dict(own)
    return Learned(adaptor.eval(), tensors["prompts.vectors"])


@torch.inference_mode()
def clip_maps(
    clip: Clip, frame: np.ndarray, blocks: Sequence[int], learned: Learned | None = None
) -> list[PatchMap]:
    """Attention and similarity maps of CLIP's blocks, and the similarity of all of them together.

    Args:
        clip: frozen, on the CPU.
        frame: `(S, S, 3)` uint8, S a multiple of the patch.
        blocks: counted from 1.
        learned: None for CLIP as it is, with the prompts "without defect." and "with defect.".

    Raises:
        UserError: what was learned belongs to another tower.
    """
    visual = clip.model.visual
    attention: dict[int, Tensor] = {}

    def watched(number: int, block: nn.Module, x: Tensor) -> Tensor:
        if number in blocks:
            attention[number] = class_attention(block, x)[0]
        return block(x)

    taps = token_taps(visual, clip_pixels(torch.from_numpy(frame[None])), blocks, watched)
    vectors = _vectors(clip, learned)
    states = prompt_features(clip.text, vectors, clip.tokenise(STATES))
    adapt = learned.adaptor if learned else nn.Identity()
    side = len(frame) // visual.conv1.kernel_size[0]
    maps, everything = [], []
    for number, tokens in zip(blocks, taps, strict=True):
        scales = [clip.project(adapt(aggregate_neighbours(tokens, window))) for window in WINDOWS]
        everything += scales
        maps.append(_patch_map("attention", str(number), attention[number], side))
        maps.append(_patch_map("similarity", str(number), abnormal_probability(scales, states)[0, 1:], side))
    return [*maps, _patch_map("similarity", "all", abnormal_probability(everything, states)[0, 1:], side)]


def class_attention(block: Any, x: Tensor) -> Tensor:
    """How much the class token attends to each patch in an open_clip block: `(B, T, D)` to `(B, T - 1)`.

    The mean over the heads; with the class token's attention to itself, a row sums to 1.
    """
    y = block.ln_1(x)
    _, weights = block.attn(y, y, y, need_weights=True, average_attn_weights=True)
    return weights[:, 0, 1:]


def backbone_maps(backbone: Backbone, frame: np.ndarray, levels: Sequence[int]) -> list[PatchMap]:
    """How unlike the rest of the image each patch is, `1 - cos` to the mean direction, level by level.

    Args:
        backbone: frozen, on the CPU.
        frame: `(S, S, 3)` uint8.
        levels: their numbers, for the names.
    """
    maps = []
    for number, level in zip(levels, backbone.levels(torch.from_numpy(frame[None])), strict=True):
        directions = F.normalize(level[0].flatten(1), dim=0)  # (C, h w)
        mean = F.normalize(directions.mean(1), dim=0)
        unlike = (1 - mean @ directions).reshape(level.shape[2:])
        maps.append(PatchMap("unlikeness", str(number), unlike.numpy()))
    return maps


def write_maps(out: Path, frame: np.ndarray, maps: Sequence[PatchMap], about: Mapping[str, Any]) -> None:
    """Write each map as `KIND-BLOCK.png` over the picture, and their numbers to `maps.json`.

    Each map is stretched from its own lowest to its highest value, which stand in `maps.json`.
    """
    size = len(frame)
    listed = []
    for patch in maps:
        low, high = float(patch.values.min()), float(patch.values.max())
        h, w = patch.values.shape
        heat = stretch(pixel_maps(patch.values.reshape(1, -1), (h, w), size, sigma=0)[0], low, high)
        file = out / f"{patch.kind}-{patch.block}.png"
        with atomic_path(file) as temporary:
            Image.fromarray(overlay(frame, heat)).save(temporary)
        row, column = np.unravel_index(int(patch.values.argmax()), (h, w))
        listed.append({
            "file": file.name, "kind": patch.kind, "block": patch.block, "grid": [h, w],
            "low": low, "high": high, "mean": float(patch.values.mean()),
            "highest_at": [round((row + 0.5) * size / h), round((column + 0.5) * size / w)],
        })  # fmt: skip
    write_json(out / "maps.json", {**about, "maps": listed})


def _vectors(clip: Clip, learned: Learned | None) -> Tensor:
    if learned is None:
        return torch.zeros(0, clip.text.token_embedding.weight.shape[1])
    check_widths(clip, learned.adaptor.to_q.in_features, learned.vectors.shape[1])
    return learned.vectors


def _patch_map(kind: str, block: str, values: Tensor, side: int) -> PatchMap:
    return PatchMap(kind, block, values.float().reshape(side, -1).numpy())
