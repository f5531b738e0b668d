"""`afclip`: AF-CLIP, zero-shot; with shots it is AF-CLIP+ (eq. 2-18).

One adaptor turns the tokens of some blocks of a frozen CLIP tower, aggregated over some windows, towards
anomalies; CLIP's own projection takes them to the space of its texts, where two prompts with learned vectors
name the normal and the abnormal state. The features of the prompts are computed once after training, and the
projection is copied, so that a saved model scores tokens without CLIP's weights.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from adlib.base.rng import torch_stream
from adlib.config.methods import AfClipParams
from adlib.learning.heads.projection import ClipProjection
from adlib.learning.heads.prompts import FIXED, STATES, PromptPrefix
from adlib.learning.methods.afclip.detector import (
    TokenDetector,
    new_adaptor,
    new_detector,
    restored_adaptor,
    restored_detector,
    train_tokens,
)
from adlib.learning.methods.contract import AuxiliaryImages, Fit


class ClipHead(nn.Module):
    """What is trained, adaptor and prompts, and what of CLIP it needs to score: projection and states.

    Args:
        adaptor: one for all blocks and scales, or the identity.
        prompts: the vectors shared by both prompts.
        projection: CLIP's.
        blocks: L, how many blocks a row of features holds.
    """

    blocks: Tensor
    states: Tensor

    def __init__(
        self, adaptor: nn.Module, prompts: PromptPrefix, projection: ClipProjection, blocks: int
    ) -> None:
        super().__init__()
        self.adaptor, self.prompts, self.projection = adaptor, prompts, projection
        self.register_buffer("blocks", torch.tensor(blocks))
        self.register_buffer("states", torch.zeros(2, projection.matrix.shape[1]))

    def levels(self, rows: Tensor) -> list[Tensor]:
        """`(B, L (1 + N), D)` to L times `(B, 1 + N, D)`."""
        return list(rows.unflatten(1, (int(self.blocks), -1)).unbind(1))

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, T, D)` to `(B, T, E)`, AF-CLIP eq. 3-7."""
        return self.projection(self.adaptor(tokens))


def restore_afclip(state: Mapping[str, Tensor]) -> TokenDetector:
    """Rebuild from `TokenDetector.state()`; widths follow from the tensors, CLIP is not needed."""
    dim, embed_dim = state["projection.matrix"].shape
    length, width = state["prompts.vectors"].shape
    head = ClipHead(
        restored_adaptor(state, dim),
        PromptPrefix(width, length),
        ClipProjection(dim, embed_dim),
        int(state["blocks"]),
    )
    return restored_detector(head, state)


class Tower(Protocol):
    """A frozen CLIP model (`embedding.networks.clip.Clip`)."""

    @property
    def model(self) -> Any:
        """open_clip's; its `visual` has the projection."""
        ...

    @property
    def text(self) -> Any:
        """Its text tower (`prompts.TextTower`)."""
        ...

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        """Token ids `(P, L)` of some texts."""
        ...


def fit_afclip(
    params: AfClipParams,
    auxiliary: Mapping[str, AuxiliaryImages],
    seed: int,
    device: torch.device,
    *,
    clip: Tower,
    blocks: int,
) -> Fit:
    """Train adaptor and prompts on the labelled images of all auxiliary categories (see `train_tokens`).

    Args:
        params: the block of params.yaml.
        auxiliary: rows of tokens, labels and masks by category.
        seed: of prompts, adaptor and batches.
        device: where to train.
        clip: the tower that made the tokens, on `device`.
        blocks: L, of how many of its blocks a row holds tokens.
    """
    head = new_head(params, clip.model.visual, clip.text, blocks, seed).to(device)
    text = clip.tokenise(STATES if params.prompt_length else FIXED).to(device)
    detector = new_detector(head, params)
    log = train_tokens(
        "afclip", detector, params, auxiliary, seed, device,
        trained=[*head.adaptor.parameters(), *head.prompts.parameters()],
        states=lambda: head.prompts(clip.text, text),
        adapt=frugal(head, params),
    )  # fmt: skip
    head.eval()
    with torch.no_grad():
        head.states.copy_(head.prompts(clip.text, text))
    return Fit(detector, log=log)


def new_head(params: AfClipParams, visual: Any, text: Any, blocks: int, seed: int) -> ClipHead:
    """A fresh head for two open_clip towers, on the CPU."""
    generator = torch_stream(seed, "afclip", "init")
    dim, width = len(visual.class_embedding), text.token_embedding.weight.shape[1]
    return ClipHead(
        new_adaptor(params, dim, generator),
        PromptPrefix(width, params.prompt_length, params.prompt_std, generator),
        ClipProjection.of(visual),
        blocks,
    )


def frugal(head: ClipHead, params: AfClipParams) -> Callable[[Tensor], Tensor]:
    """The head as it trains: compiled, and forgetting its activations, if params.yaml says so."""
    adapt: Callable[[Tensor], Tensor] = torch.compile(head) if params.compile else head
    if not params.checkpointing:
        return adapt
    return lambda tokens: checkpoint(adapt, tokens, use_reentrant=False)  # pyright: ignore[reportReturnType]
