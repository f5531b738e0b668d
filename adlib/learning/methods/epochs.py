"""Plain training, the same for every head: an optimiser and its rates, and epochs over shuffled batches."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from adlib.base.progress import track


class Optimiser(Protocol):
    """What a step needs."""

    def zero_grad(self) -> None: ...

    def step(self) -> None: ...


class ScheduledOptimiser:
    """Adam or plain gradient descent whose learning rates stay, or fall to zero (cosine).

    Without annealing the last step's noise stays in the scores, and with no test label to pick a better
    epoch the last one is what counts.

    Args:
        kind: which.
        parameters: tensors or groups of them, as `torch.optim.Adam` takes them.
        steps: how many steps there will be.
        annealed: whether the rates fall.
        weight_decay: of all parameters.
        adam: further options that only Adam has.
    """

    def __init__(
        self,
        kind: Literal["adam", "sgd"],
        parameters: Iterable[Any],
        steps: int,
        *,
        annealed: bool,
        weight_decay: float,
        lr: float = 1e-3,
        **adam: Any,
    ) -> None:
        if kind == "adam":
            self.rule = torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay, **adam)
        else:
            self.rule = torch.optim.SGD(parameters, lr=lr, weight_decay=weight_decay)
        self.schedule = (
            torch.optim.lr_scheduler.CosineAnnealingLR(self.rule, max(1, steps)) if annealed else None
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.rule.zero_grad()

    def step(self) -> None:
        """One update, then the next learning rates."""
        self.rule.step()
        if self.schedule is not None:
            self.schedule.step()


def train_epochs(
    name: str,
    epochs: int,
    batches: Callable[[], Iterable[Tensor]],
    loss: Callable[[Tensor], Tensor],
    optimiser: Optimiser,
) -> list[dict[str, Any]]:
    """Minimise the loss of every batch of every epoch.

    Args:
        name: shown beside the progress bar.
        epochs: how many.
        batches: positions `(B,)` in the training set, a batch each, drawn anew for every epoch.
        loss: of the images at such positions, a scalar.
        optimiser: makes the steps.

    Returns:
        The log: an epoch's number and mean loss each.
    """
    log = []
    with track(name, epochs, "epochs") as advance:
        for epoch in range(epochs):
            losses = []
            for images in batches():
                value = loss(images)
                optimiser.zero_grad()
                value.backward()
                optimiser.step()
                losses.append(value.detach())
            log.append({"epoch": epoch, "loss": float(torch.stack(losses).mean())})
            advance(1)
    return log
