"""What AF-CLIP and its relative without CLIP share: scores of adapted tokens, banks of shots, training."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from adlib.base.device import mixed_precision
from adlib.base.errors import UserError
from adlib.base.rng import torch_stream
from adlib.config.methods import AfTokensParams
from adlib.data.rows import join_views
from adlib.learning.equations.anomaly_clip import af_clip_loss
from adlib.learning.heads.adaptor import AnomalyAdaptor
from adlib.learning.heads.memory import MemoryBank
from adlib.learning.heads.states import abnormal_probability, bank_scores, few_shot_scores
from adlib.learning.heads.tokens import aggregate_neighbours
from adlib.learning.methods.contract import AuxiliaryImages, Scores
from adlib.learning.methods.epochs import train_epochs


class TokenHead(Protocol):
    """What is trained, and how it reads a row of features."""

    @property
    def adaptor(self) -> nn.Module:
        """An `AnomalyAdaptor` for all blocks and scales, or the identity."""
        ...

    @property
    def states(self) -> Tensor:
        """`(2, E)`, the normal state first."""
        ...

    def levels(self, rows: Tensor) -> list[Tensor]:
        """The tokens `(B, 1 + N, D)` of each block, the class token first."""
        ...

    def __call__(self, tokens: Tensor) -> Tensor:
        """Aggregated tokens `(B, 1 + N, D)` to adapted ones in the space of the states, `(B, 1 + N, E)`."""
        ...

    def state_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class TokenDetector:
    """A head, and the banks of a few normal target images once it has seen some.

    Attributes:
        head: adaptor and states.
        windows: scales of the aggregation.
        window_sigma: its weights' standard deviation in patches.
        temperature: of the cosines.
        zero_shot_weight: of the zero-shot scores beside the distances to the banks.
        banks: none for zero-shot, else one for each block and window, in the order of `scales`.
    """

    head: TokenHead
    windows: tuple[int, ...]
    window_sigma: float
    temperature: float
    zero_shot_weight: float
    banks: tuple[MemoryBank, ...] = ()

    def scales(self, rows: Tensor) -> list[Tensor]:
        """One aggregated `(B, 1 + N, D)` for each block and window, block by block."""
        levels = self.head.levels(rows)
        return [aggregate_neighbours(tokens, r, self.window_sigma) for tokens in levels for r in self.windows]

    @torch.inference_mode()
    def score(self, patches: Tensor) -> Scores:
        """Score rows of features: zero-shot (AF-CLIP eq. 10), or with the distances to the banks (eq. 18)."""
        states = self.head.states
        with torch.autocast(patches.device.type, enabled=False):  # distances are small differences
            scales = self.scales(patches)
            distances = bank_scores([t[:, 1:] for t in scales], self.banks) if self.banks else None
        adapted = [self.head(tokens).to(states.dtype) for tokens in scales]
        with torch.autocast(patches.device.type, enabled=False):  # as in training: rounding is divided by tau
            probability = abnormal_probability(adapted, states, self.temperature)
        if distances is None:
            return Scores(probability[:, 0], probability[:, 1:])
        return Scores(*few_shot_scores(distances, probability, self.zero_shot_weight))

    @torch.inference_mode()
    def with_shots(self, references: Tensor) -> "TokenDetector":
        """The same head with the aggregated, unadapted patches of K normal images in its banks (eq. 16)."""
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
            "heads": torch.tensor(getattr(self.head.adaptor, "heads", 0)),
            "windows": torch.tensor(self.windows),
            "numbers": torch.tensor(numbers, dtype=torch.float64),
            **{f"bank.{i}": bank.vectors for i, bank in enumerate(self.banks)},
        }


def new_detector(head: TokenHead, params: AfTokensParams) -> TokenDetector:
    """A detector without shots."""
    return TokenDetector(
        head, params.windows, params.window_sigma, params.temperature, params.zero_shot_weight
    )


def new_adaptor(params: AfTokensParams, dim: int, generator: torch.Generator) -> nn.Module:
    """A fresh adaptor of tokens of width `dim`; the identity if none is wanted (AF-CLIP 5.5, V1)."""
    return AnomalyAdaptor(dim, params.heads, params.head_dim, generator) if params.adaptor else nn.Identity()


def restored_adaptor(state: Mapping[str, Tensor], dim: int) -> nn.Module:
    """An adaptor of the shape of `TokenDetector.state()`, or the identity, without its weights."""
    heads = int(state["heads"])
    return AnomalyAdaptor(dim, heads, len(state["adaptor.to_q.weight"]) // heads) if heads else nn.Identity()


def restored_detector(head: Any, state: Mapping[str, Tensor]) -> TokenDetector:
    """The detector of `TokenDetector.state()`, given a head of the right widths to load."""
    head.load_state_dict({name: state[name] for name in head.state_dict()})
    banks = []
    while f"bank.{len(banks)}" in state:
        bank = MemoryBank("cosine")
        bank.add(state[f"bank.{len(banks)}"])
        banks.append(bank)
    sigma, temperature, weight = state["numbers"].tolist()
    head = head.to(state["states"].device).eval()
    return TokenDetector(head, tuple(state["windows"].tolist()), sigma, temperature, weight, tuple(banks))


def training_loss(
    detector: TokenDetector,
    params: AfTokensParams,
    rows: Tensor,
    anomalous: Tensor,
    mask: Tensor,
    *,
    states: Tensor,
    adapt: Callable[[Tensor], Tensor],
) -> Tensor:
    """AF-CLIP's loss of a batch (eq. 15).

    Args:
        detector: how rows become aggregated tokens.
        params: weights of the losses.
        rows: features of B images.
        anomalous: `(B,)`, their labels.
        mask: `(B, N)`, their masks at patch resolution.
        states: `(2, E)`, the normal state first.
        adapt: the head, or the head compiled or checkpointed.
    """
    with mixed_precision(rows.device):
        adapted = [adapt(tokens).to(states.dtype) for tokens in detector.scales(rows)]
    return af_clip_loss(
        abnormal_probability(adapted, states, detector.temperature),
        anomalous,
        mask,
        [v[:, 1:] for v in adapted],
        gamma=params.gamma,
        lambda1=params.lambda1,
        lambda2=params.lambda2,
    )


def train_tokens(
    name: str,
    detector: TokenDetector,
    params: AfTokensParams,
    auxiliary: Mapping[str, AuxiliaryImages],
    seed: int,
    device: torch.device,
    *,
    trained: Iterable[nn.Parameter],
    states: Callable[[], Tensor],
    adapt: Callable[[Tensor], Tensor],
) -> list[dict[str, Any]]:
    """Train on the labelled images of all auxiliary categories (AF-CLIP 4.3); the log, an epoch each.

    Args:
        name: of the method.
        detector: as `training_loss`, on `device`.
        params: of the losses, of Adam and of the batches.
        auxiliary: features, labels and masks by category.
        seed: of the batches.
        device: where batches go.
        trained: the parameters that Adam moves; where there are none (a fixed prompt and no adaptor), the
            detector is finished.
        states: the two states at the present parameters.
        adapt: as `training_loss`.

    Raises:
        UserError: a category has no masks.
    """
    trained = [parameter for parameter in trained if parameter.numel()]
    if not trained:
        return []
    masks = []
    for category, images in auxiliary.items():
        if images.masks is None:
            raise UserError(f"auxiliary.categories: {name} learns from masks, and {category} has none")
        masks.append(images.masks)
    view = join_views([images.features for images in auxiliary.values()])
    anomalous = torch.from_numpy(np.concatenate([images.anomalous for images in auxiliary.values()]))
    mask = torch.from_numpy(np.concatenate(masks))
    beta1, beta2 = params.betas
    adam = torch.optim.Adam(trained, lr=params.lr, betas=(beta1, beta2))
    order = torch_stream(seed, name, "order")

    def batches() -> Sequence[Tensor]:
        return torch.randperm(len(view), generator=order).split(params.batch_size)

    def loss(images: Tensor) -> Tensor:
        rows = view.batch(images.numpy(), device)
        y, m = anomalous[images].to(device), mask[images].to(device)
        return training_loss(detector, params, rows, y, m, states=states(), adapt=adapt)

    return train_epochs(name, params.epochs, batches, loss, adam)
