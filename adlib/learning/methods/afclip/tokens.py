"""`af-tokens`: AF-CLIP's adaptor, aggregation, losses and banks over the patches of another frozen backbone.

It is not CLIP. The class token is the mean of the patches, there is one block of them, the adaptor's output
is not projected, and two learned vectors stand where AF-CLIP has the features of its two text prompts.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from adlib.base.rng import torch_stream
from adlib.config.methods import AfTokensParams
from adlib.learning.methods.afclip.detector import (
    TokenDetector,
    new_adaptor,
    new_detector,
    restored_adaptor,
    restored_detector,
    train_tokens,
)
from adlib.learning.methods.contract import AuxiliaryImages, Fit


class PatchHead(nn.Module):
    """What is trained: the adaptor, one for all scales, and the normal and the abnormal state.

    Args:
        adaptor: made from `generator`, or the identity.
        dim: width of a patch.
        generator: draws the initial states.
    """

    def __init__(self, adaptor: nn.Module, dim: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.adaptor = adaptor
        self.states = nn.Parameter(torch.randn(2, dim, generator=generator))

    def levels(self, rows: Tensor) -> list[Tensor]:
        """Patches `(B, N, D)` to one `(B, 1 + N, D)`; the class token is their mean."""
        return [torch.cat([rows.mean(1, keepdim=True), rows], dim=1)]

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, T, D)` to `(B, T, D)`."""
        return self.adaptor(tokens)


def restore_af_tokens(state: Mapping[str, Tensor]) -> TokenDetector:
    """Rebuild from `TokenDetector.state()`; widths follow from the tensors."""
    dim = state["states"].shape[1]
    return restored_detector(PatchHead(restored_adaptor(state, dim), dim), state)


def fit_af_tokens(
    params: AfTokensParams, auxiliary: Mapping[str, AuxiliaryImages], seed: int, device: torch.device
) -> Fit:
    """Train adaptor and states on the labelled images of all auxiliary categories (see `train_tokens`)."""
    width = next(iter(auxiliary.values())).features.width
    generator = torch_stream(seed, "af-tokens", "init")
    adaptor = new_adaptor(params, width, generator)
    head = PatchHead(adaptor, width, generator).to(device)
    detector = new_detector(head, params)
    log = train_tokens(
        "af-tokens", detector, params, auxiliary, seed, device,
        trained=head.parameters(), states=lambda: head.states, adapt=head,
    )  # fmt: skip
    head.eval()
    return Fit(detector, log=log)
