"""Plain training, the same for every head: Adam that is annealed, and epochs over shuffled batches."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from adlib.progress import track


class Optimiser(Protocol):
    """What a step needs."""

    def zero_grad(self) -> None: ...

    def step(self) -> None: ...


class AnnealedAdam:
    """Adam whose learning rates fall to zero (cosine).

    Without annealing the last step's noise stays in the scores, and with no test label to pick a better
    epoch the last one is what counts.

    Args:
        parameters: tensors or groups of them, as `torch.optim.Adam` takes them.
        steps: how many steps there will be.
        options: Adam's.
    """

    def __init__(self, parameters: Iterable[Any], steps: int, **options: Any) -> None:
        self.adam = torch.optim.Adam(parameters, **options)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.adam, max(1, steps))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.adam.zero_grad()

    def step(self) -> None:
        """One update, then the next learning rates."""
        self.adam.step()
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
