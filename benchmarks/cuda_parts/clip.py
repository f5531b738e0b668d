"""AF-CLIP on a random CLIP tower: the cases, and the towers themselves. They need open_clip."""

import json
import tempfile
from pathlib import Path
from typing import Any

import open_clip
import torch

from adlib.config.params import Params
from adlib.embedding.tokens import chosen_blocks, open_clip_tower
from adlib.learning.methods.afclip.clip import fit_afclip
from benchmarks.cuda_parts.cases import (
    FULL,
    SEED,
    SMALL,
    Case,
    configured,
    generated,
    generated_auxiliary,
    view_of,
)

TINY = "tiny-random"
CONFIG = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 30, "layers": 4, "width": 32, "patch_size": 10, "head_width": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


def tower_params(small: bool, large: str = "ViT-L-14-336", **changes: Any) -> Params:
    """Parameters that name a random tower: a tiny one, or one of open_clip's."""
    values: dict[str, Any] = {"clip.name": large, "clip.weights": "random", "clip.batch_size": 2}
    if small:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"{TINY}.json").write_text(json.dumps(CONFIG), encoding="utf-8")
            open_clip.add_model_config(Path(folder))
        values |= {"clip.name": TINY, "clip.blocks": [1, 2, 3, 4], "clip.image_size": 40}
    return configured(values | {f"methods.afclip.{name}": value for name, value in changes.items()})


def clip_cases(small: bool) -> list[Case]:
    """AF-CLIP as it trains by default, with checkpointing, and with shots."""
    size = SMALL if small else FULL
    found = []
    for name, changes in (("afclip", {}), ("afclip, checkpointing", {"checkpointing": True})):
        options = {"epochs": size.epochs, "lr": 1e-3, "heads": 2, "head_dim": 8, "prompt_length": 4} | changes
        params = tower_params(small, "ViT-B-16", **options)
        dim = 32 if small else 768
        blocks = len(chosen_blocks(params.clip))
        tokens = blocks * (1 + size.side**2)
        wide = type(size)(**{**vars(size), "width": dim})
        auxiliary = generated_auxiliary(wide, rows=tokens)
        test, anomalous = generated(size.anomalies, size.anomalies, tokens, dim, seed=1)
        shots, _ = generated(4, 0, tokens, dim, seed=2)

        def few_shot(detector: Any, device: torch.device, shots: Any = shots) -> Any:
            return detector.with_shots(torch.cat(list(view_of(shots).batches(4, device))))

        def learn(device: torch.device, params: Params = params, auxiliary: Any = auxiliary) -> Any:
            clip, blocks = tower(params, device), len(chosen_blocks(params.clip))
            return fit_afclip(params.settings("afclip"), auxiliary, SEED, device, clip=clip, blocks=blocks)

        found.append(Case(name, "afclip", learn, view_of(test), anomalous))
        if not changes:
            found.append(Case(f"{name}, 4 shots", "afclip", learn, view_of(test), anomalous, few_shot))
    return found


def tower(params: Params, device: torch.device) -> Any:
    """The tower of `tower_params` on a device."""
    return open_clip_tower(params.clip, device)
