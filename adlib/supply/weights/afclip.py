"""AF-CLIP's released adaptor and prompts as named tensors of ours.

The authors published pickles: `*_adaptor.pt` a module, `*_prompt.pt` a parameter. Nothing in them is
run: for each class that the module is made of, torch's restricted unpickler gets an inert stand-in.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adlib.embedding.networks.checkpoints import refusal
from adlib.embedding.networks.identity import WeightsError
from adlib.learning.heads.adaptor import AnomalyAdaptor
from adlib.supply.weights.architectures import broken_tensors

HEADS = 8  # of the released adaptor, which does not store it
# Their names and ours.
NAMES = {
    "attention.norm.weight": "norm.weight",
    "attention.norm.bias": "norm.bias",
    "attention.attn.to_q.weight": "to_q.weight",
    "attention.attn.to_k.weight": "to_k.weight",
    "attention.attn.to_v.weight": "to_v.weight",
    "attention.attn.to_out.0.weight": "to_out.weight",
    "attention.attn.to_out.0.bias": "to_out.bias",
}
CLASSES = (
    "clip.adaptor.Adaptor",
    "clip.adaptor.BasicTransformerBlock",
    "clip.adaptor.CrossAttention",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.dropout.Dropout",
    "torch.nn.modules.linear.Linear",
    "torch.nn.modules.normalization.LayerNorm",
)


class Part:
    """Stands in for a pickled module: keeps what the file says about it and can do nothing."""

    __slots__ = ("content",)

    def __setstate__(self, content: dict[str, Any]) -> None:
        self.content = content

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Names and values of its parameters and those of its parts."""
        for name, tensor in self.content["_parameters"].items():
            if tensor is not None:
                yield prefix + name, tensor.detach()
        for name, part in self.content["_modules"].items():
            yield from part.tensors(f"{prefix}{name}.")


def released_tensors(adaptor: Path, prompt: Path) -> dict[str, Tensor]:
    """`adaptor.*`, as `AnomalyAdaptor` names them, and `prompts.vectors` `(n, W)`, float32; and `heads`.

    Args:
        adaptor: `*_adaptor.pt` as released, or a state dict of it.
        prompt: `*_prompt.pt` as released, `(1, n, W)`.

    Raises:
        WeightsError: a file is missing, holds something else, or would have to be run to be read.
    """
    tensors = {
        **{f"adaptor.{name}": tensor for name, tensor in _adaptor(adaptor).items()},
        "prompts.vectors": _prompt(prompt),
    }
    broken = broken_tensors(tensors)
    if broken:
        raise WeightsError(f"{adaptor}, {prompt}: {', '.join(broken)} hold infinities or NaN")
    return {
        **{name: tensor.float().contiguous() for name, tensor in tensors.items()},
        "heads": torch.tensor(HEADS),
    }


def _adaptor(path: Path) -> dict[str, Tensor]:
    content = _read(path)
    try:
        found = dict(content.tensors()) if isinstance(content, Part) else dict(content)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        found = {}
    if found.keys() != NAMES.keys() or not all(isinstance(found[name], Tensor) for name in NAMES):
        raise WeightsError(
            f"{path}: not AF-CLIP's adaptor; its tensors are {', '.join(NAMES)}, "
            f"got {', '.join(map(str, found)) or 'none'}"
        )
    tensors = {ours: found[theirs] for theirs, ours in NAMES.items()}
    inner, dim = tensors["to_q.weight"].shape[0], tensors["norm.weight"].shape[-1]
    if inner % HEADS:
        raise WeightsError(f"{path}: its width {inner} is not a multiple of {HEADS} heads")
    try:
        AnomalyAdaptor(dim, HEADS, inner // HEADS).load_state_dict(tensors)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{path}: its tensors do not fit together: {problem}") from error
    return tensors


def _prompt(path: Path) -> Tensor:
    content = _read(path)
    shape = tuple(content.shape) if isinstance(content, Tensor) else type(content).__name__
    if not isinstance(content, Tensor) or content.ndim != 3 or len(content) != 1:
        raise WeightsError(f"{path}: not AF-CLIP's prompts; they are one tensor (1, n, W), got {shape}")
    return content.detach()[0]


def _read(path: Path) -> Any:
    if not path.is_file():
        raise WeightsError(f"no file {path}; the authors' release holds *_adaptor.pt and *_prompt.pt")
    stand_ins: list[Any] = [(Part, name) for name in CLASSES]
    try:
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises any type at all on a damaged file
        raise WeightsError(f"{path} cannot be read without running code in it: {refusal(error)}") from error
