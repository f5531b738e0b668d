"""`af-tokens`: AF-CLIP's adaptor, aggregation, losses and banks over the patches of another frozen backbone.

It is not CLIP. The class token is the mean of the patches, there is one block of them, the adaptor's output
is not projected, and two learned vectors stand where AF-CLIP has the features of its two text prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from adlib.device import mixed_precision
from adlib.errors import UserError
from adlib.features.store import join_views
from adlib.heads.adaptor import AnomalyAdaptor
from adlib.heads.memory import MemoryBank
from adlib.heads.states import abnormal_probability, bank_scores, few_shot_scores
from adlib.heads.tokens import aggregate_neighbours
from adlib.losses import af_clip_loss
from adlib.methods.auxiliary import AuxiliaryImages
from adlib.methods.detector import Fit, Scores
from adlib.methods.epochs import train_epochs
from adlib.rng import torch_stream
from adlib.schema import AfTokensParams


class TokenHead(nn.Module):
    """What is trained: the adaptor, one for all scales, and the normal and the abnormal state."""

    def __init__(self, dim: int, heads: int, head_dim: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.adaptor = AnomalyAdaptor(dim, heads, head_dim, generator)
        self.states = nn.Parameter(torch.randn(2, dim, generator=generator))


@dataclass(frozen=True)
class AfTokens:
    """A trained head, and the banks of a few normal target images once it has seen some.

    Attributes:
        head: adaptor and states.
        windows: scales of the aggregation.
        window_sigma: its weights' standard deviation in patches.
        temperature: of the cosines.
        zero_shot_weight: of the zero-shot scores beside the distances to the banks.
        banks: none for zero-shot, else one for each window.
    """

    head: TokenHead
    windows: tuple[int, ...]
    window_sigma: float
    temperature: float
    zero_shot_weight: float
    banks: tuple[MemoryBank, ...] = ()

    def scales(self, patches: Tensor) -> list[Tensor]:
        """`(B, N, D)` to one aggregated `(B, 1 + N, D)` a window; the class token is the patches' mean."""
        tokens = torch.cat([patches.mean(1, keepdim=True), patches], dim=1)
        return [aggregate_neighbours(tokens, window, self.window_sigma) for window in self.windows]

    def adapt(self, scales: list[Tensor]) -> list[Tensor]:
        """The adaptor's output for each scale, float32 whatever it was computed in."""
        return [self.head.adaptor(tokens).float() for tokens in scales]

    def probability(self, adapted: list[Tensor]) -> Tensor:
        """`(B, 1 + N)`: how probably each token is abnormal, the class token first."""
        return abnormal_probability(adapted, self.head.states, self.temperature)

    @torch.inference_mode()
    def score(self, patches: Tensor) -> Scores:
        """Score `(B, N, D)`: zero-shot, or with the distances to the banks."""
        scales = self.scales(patches)
        probability = self.probability(self.adapt(scales))
        if not self.banks:
            return Scores(probability[:, 0], probability[:, 1:])
        distances = bank_scores([tokens[:, 1:] for tokens in scales], self.banks)
        return Scores(*few_shot_scores(distances, probability, self.zero_shot_weight))

    @torch.inference_mode()
    def with_shots(self, references: Tensor) -> "AfTokens":
        """The same head with the aggregated, unadapted patches of normal images `(K, N, D)` in its banks."""
        banks = []
        for tokens in self.scales(references):
            banks.append(MemoryBank("cosine"))
            banks[-1].add(tokens[:, 1:].flatten(0, 1))
        return replace(self, banks=tuple(banks))

    def state(self) -> dict[str, Tensor]:
        """Weights, settings and banks."""
        numbers = [self.window_sigma, self.temperature, self.zero_shot_weight]
        return {
            **self.head.state_dict(),
            "heads": torch.tensor(self.head.adaptor.heads),
            "windows": torch.tensor(self.windows),
            "numbers": torch.tensor(numbers, dtype=torch.float64),
            **{f"bank.{i}": bank.vectors for i, bank in enumerate(self.banks)},
        }

    @staticmethod
    def from_state(state: dict[str, Tensor]) -> "AfTokens":
        """Rebuild from `state()`; widths follow from the tensors."""
        inner, dim = state["adaptor.to_q.weight"].shape
        heads = int(state["heads"])
        head = TokenHead(dim, heads, inner // heads)
        head.load_state_dict({name: state[name] for name in head.state_dict()})
        banks = []
        for name in sorted(name for name in state if name.startswith("bank.")):
            banks.append(MemoryBank("cosine"))
            banks[-1].add(state[name])
        sigma, temperature, weight = state["numbers"].tolist()
        return AfTokens(
            head.to(state["states"].device).eval(),
            tuple(state["windows"].tolist()),
            sigma,
            temperature,
            weight,
            tuple(banks),
        )


def fit_af_tokens(
    params: AfTokensParams, auxiliary: Mapping[str, AuxiliaryImages], seed: int, device: torch.device
) -> Fit:
    """Train adaptor and states on the labelled images of all auxiliary categories (AF-CLIP 4.3).

    Raises:
        UserError: a category has no masks.
    """
    masks = []
    for category, images in auxiliary.items():
        if images.masks is None:
            raise UserError(f"auxiliary.categories: af-tokens learns from masks, and {category} has none")
        masks.append(images.masks)
    view = join_views([images.features for images in auxiliary.values()])
    anomalous = torch.from_numpy(np.concatenate([images.anomalous for images in auxiliary.values()]))
    mask = torch.from_numpy(np.concatenate(masks))
    head = TokenHead(view.width, params.heads, params.head_dim, torch_stream(seed, "af-tokens", "init"))
    detector = AfTokens(
        head.to(device), params.windows, params.window_sigma, params.temperature, params.zero_shot_weight
    )
    beta1, beta2 = params.betas
    adam = torch.optim.Adam(head.parameters(), lr=params.lr, betas=(beta1, beta2))
    order = torch_stream(seed, "af-tokens", "order")

    def batches() -> Sequence[Tensor]:
        return torch.randperm(len(view), generator=order).split(params.batch_size)

    def loss(images: Tensor) -> Tensor:
        patches = view.batch(images.numpy(), device)
        with mixed_precision(device):
            adapted = detector.adapt(detector.scales(patches))
        return af_clip_loss(
            detector.probability(adapted),
            anomalous[images].to(device),
            mask[images].to(device),
            [v[:, 1:] for v in adapted],
            gamma=params.gamma,
            lambda1=params.lambda1,
            lambda2=params.lambda2,
        )

    log = train_epochs("af-tokens", params.epochs, batches, loss, adam)
    head.eval()
    return Fit(detector, log=log)
