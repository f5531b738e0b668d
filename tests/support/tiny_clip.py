"""A CLIP model of a few thousand weights in OpenAI's state-dict layout, and its forward written out."""

import json
import math
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor

from adlib.base.files import sha256_file
from adlib.config.networks import ClipParams
from adlib.embedding.networks.clip_loading import load_clip

NAME = "tiny-openai"
BLOCKS = (1, 2, 3, 4)
SIZE, PATCH, DIM, EMBED, CONTEXT = 40, 10, 32, 12, 24
CONFIG = {
    "embed_dim": EMBED,
    "vision_cfg": {"image_size": 30, "layers": 4, "width": DIM, "patch_size": PATCH, "head_width": 16},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


def tiny_clip(folder: Path, **changes: Any) -> ClipParams:
    """Register the architecture and write its weights; the block `clip` of params.yaml for them."""
    folder.mkdir(exist_ok=True)
    (folder / f"{NAME}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    state = load_clip(NAME, "random").model.state_dict()
    sizes = {"input_resolution": 30, "context_length": CONTEXT, "vocab_size": 49408}
    path = folder / "openai.safetensors"
    save_file(state | {name: torch.tensor(value) for name, value in sizes.items()}, path)
    block = {
        "name": NAME, "weights": str(path), "sha256": sha256_file(path), "image_size": SIZE,
        "blocks": BLOCKS, "batch_size": 4, "max_gb": 1.0,
    }  # fmt: skip
    return ClipParams.model_validate(block | changes)


def naive_attention(x: Tensor, q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | float) -> Tensor:
    """`(T, D)` to `(T, heads * d)`, head by head; the weights are `(heads * d, D)`."""
    found = []
    for h in range(heads):
        rows = slice(h * len(q) // heads, (h + 1) * len(q) // heads)
        scores = (x @ q[rows].T) @ (x @ k[rows].T).T / math.sqrt(rows.stop - rows.start)
        found.append(torch.softmax(scores + mask, dim=1) @ (x @ v[rows].T))
    return torch.cat(found, dim=1)


def naive_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm over the last axis."""
    variance = (x - x.mean(-1, keepdim=True)).square().mean(-1, keepdim=True)
    return (x - x.mean(-1, keepdim=True)) / (variance + 1e-5).sqrt() * weight + bias


def naive_prompts(text: Any, vectors: Tensor, ids: Tensor) -> Tensor:
    """Features `(P, E)` of prompts with learned vectors, token by token through OpenAI's text tower."""
    future = torch.full((CONTEXT, CONTEXT), -torch.inf, dtype=vectors.dtype).triu(1)
    features = []
    for row in ids:
        words = [text.token_embedding.weight[i] for i in row]
        x = torch.stack([*vectors, *words])[:CONTEXT] + text.positional_embedding
        for block in text.transformer.resblocks:
            y = naive_norm(x, block.ln_1.weight, block.ln_1.bias)
            assert not block.attn.in_proj_bias.any(), "random biases are zero"
            q, k, v = block.attn.in_proj_weight.chunk(3)
            attended = naive_attention(y, q, k, v, block.attn.num_heads, future)
            x = x + attended @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
            y = naive_norm(x, block.ln_2.weight, block.ln_2.bias) @ block.mlp.c_fc.weight.T
            y = y + block.mlp.c_fc.bias
            y = y * torch.sigmoid(1.702 * y)  # QuickGELU
            x = x + y @ block.mlp.c_proj.weight.T + block.mlp.c_proj.bias
        end = int((row == 49407).nonzero()) + len(vectors)
        read = naive_norm(x, text.ln_final.weight, text.ln_final.bias)[end]
        features.append(read @ text.text_projection)
    return torch.stack(features)
