"""AF-CLIP's released adaptor and prompts together with a CLIP tower: a model for `adlib predict`."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from adlib.base.errors import UserError
from adlib.base.files import atomic_directory
from adlib.config.params import Params
from adlib.data.rows import FeatureInfo
from adlib.embedding.networks.clip import Clip
from adlib.embedding.tokens import chosen_blocks, open_clip_tower, token_recipe
from adlib.fits.folder import write_model, write_scores
from adlib.learning.heads.projection import ClipProjection
from adlib.learning.heads.prompts import STATES, PromptPrefix
from adlib.learning.methods.afclip.clip import ClipHead
from adlib.learning.methods.afclip.detector import new_detector, restored_adaptor


def write_released_model(folder: Path, tensors: Mapping[str, Tensor], params: Params) -> None:
    """Write a model's folder as a fit would be: the detector, and how images are embedded.

    It has no threshold, as no image of the target was seen.

    Args:
        folder: takes the place of what is there.
        tensors: as `adlib.supply.weights.afclip.released_tensors`.
        params: the tower (`clip`), and the settings of `methods.afclip` that scoring reads.

    Raises:
        UserError: the tower is of other widths, or cannot be loaded.
    """
    device = torch.device("cpu")
    clip = open_clip_tower(params.clip, device)
    _, dim = tensors["adaptor.to_q.weight"].shape
    length, width = tensors["prompts.vectors"].shape
    check_widths(clip, dim, width)
    head = ClipHead(
        restored_adaptor(tensors, dim),
        PromptPrefix(width, length),
        ClipProjection.of(clip.model.visual),
        len(chosen_blocks(params.clip)),
    )
    own = head.state_dict()
    head.load_state_dict(own | {name: tensor for name, tensor in tensors.items() if name in own})
    with torch.no_grad():
        head.states.copy_(head.prompts(clip.text, clip.tokenise(STATES)))
    recipe = token_recipe(params.clip, keep_aspect=params.keep_aspect, device=device)
    info = FeatureInfo(ids=(), key=recipe.key, **recipe.info)
    with atomic_directory(folder) as temporary:
        write_model(temporary, "afclip", new_detector(head.eval(), params.methods.afclip))
        # Probabilities: the colours reach from 0 to 1.
        write_scores(temporary, {"heat_scale": torch.tensor([0.0, 1.0])}, info, [], [], [])


def check_widths(clip: Clip, dim: int, width: int) -> None:
    """Refuse an adaptor of width `dim` or prompts of width `width` that a tower does not have."""
    own = (len(clip.model.visual.class_embedding), clip.text.token_embedding.weight.shape[1])
    if (dim, width) != own:
        raise UserError(
            f"AF-CLIP's adaptor and prompts are of widths {(dim, width)}, the tower's are {own}; name the "
            "tower that they were trained with (the authors' is ViT-L-14-336)"
        )
