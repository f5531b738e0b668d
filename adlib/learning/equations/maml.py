"""Model-agnostic meta-learning: the inner step of CoMet eq. 7 as a pure function."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

ParamDict = dict[str, Tensor]


def adapt(
    params: ParamDict,
    loss_fn: Callable[[ParamDict], Tensor],
    lr: float,
    steps: int = 1,
    second_order: bool = True,
) -> ParamDict:
    """Plain gradient steps on a task, CoMet eq. 7: `theta' = theta - alpha grad L_train(theta)`.

    Args:
        params: theta, by name; left as they are.
        loss_fn: maps parameters to a scalar loss.
        lr: alpha, > 0.
        steps: number of inner steps, >= 1.
        second_order: keep the graph of the step, so that a loss of theta' differentiates through it
            (MAML); without it theta' depends on theta as if the step were a constant (first order).

    Returns:
        theta', by name, differentiable with respect to `params`.
    """
    if steps < 1:
        raise ValueError(f"steps: must be >= 1, got {steps}")
    adapted = params
    for _ in range(steps):
        loss = loss_fn(adapted)
        gradients = torch.autograd.grad(loss, list(adapted.values()), create_graph=second_order)
        adapted = {
            name: value - lr * gradient
            for (name, value), gradient in zip(adapted.items(), gradients, strict=True)
        }
    return adapted


def squared_norm(params: ParamDict) -> Tensor:
    """`||theta||^2`, the regulariser of CoMet eq. 6 and 9."""
    return torch.stack([value.square().sum() for value in params.values()]).sum()


class TaskBatches:
    """Mini-batches of a training set that is divided into disjoint tasks (CoMet 3.3).

    Args:
        tasks: positions of the training images, at least 2 parts: `split_tasks` or `group_tasks`.
        batch_size: images of one meta-iteration, shared by the tasks' inner loops (and again by the outer).
        generator: draws the batches.
    """

    def __init__(self, tasks: list[Tensor], batch_size: int, generator: torch.Generator) -> None:
        self.iterations = max(1, sum(map(len, tasks)) // batch_size)
        size = max(1, batch_size // len(tasks))
        others = [torch.cat(tasks[:i] + tasks[i + 1 :]) for i in range(len(tasks))]
        self._inner = [endless_batches(task, size, generator) for task in tasks]
        self._outer = [endless_batches(rest, size, generator) for rest in others]

    def epoch(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """A meta-iteration at a time: for every task a batch of its own images and one of the others'."""
        for _ in range(self.iterations):
            yield [(next(own), next(rest)) for own, rest in zip(self._inner, self._outer, strict=True)]


class JointBatches:
    """Mini-batches of a training set that is not divided: what `TaskBatches` is without meta-learning."""

    def __init__(self, samples: int, batch_size: int, generator: torch.Generator) -> None:
        self.iterations = max(1, samples // batch_size)
        self._batches = endless_batches(torch.arange(samples), batch_size, generator)

    def epoch(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """A single pair at a time, of a batch and itself."""
        for _ in range(self.iterations):
            batch = next(self._batches)
            yield [(batch, batch)]


def split_tasks(samples: int, tasks: int, generator: torch.Generator) -> list[Tensor]:
    """Divide `range(samples)` at random into `tasks` disjoint parts of (nearly) equal size.

    Raises:
        ValueError: fewer than two tasks, or fewer samples than tasks.
    """
    if not 2 <= tasks <= samples:
        raise ValueError(f"tasks: must be between 2 and the {samples} training images, got {tasks}")
    return list(torch.randperm(samples, generator=generator).tensor_split(tasks))


def group_tasks(groups: Tensor) -> list[Tensor]:
    """The positions of each value in `groups` `(S,)`: tasks that follow the images' categories.

    Raises:
        ValueError: fewer than two values.
    """
    tasks = [torch.nonzero(groups == group).flatten() for group in groups.unique()]
    if len(tasks) < 2:
        raise ValueError(f"groups: at least two are needed to make tasks of, got {len(tasks)}")
    return tasks


def endless_batches(members: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of `min(size, len(members))` from reshuffled passes over `members`, without end."""
    size = min(size, len(members))
    while True:
        order = members[torch.randperm(len(members), generator=generator)]
        for start in range(0, len(members) - size + 1, size):
            yield order[start : start + size]
