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

    Example:
        For the loss w^2 a step from 3 gives 3 - 0.25 * 6, and the step's derivative by w is 1 - 0.25 * 2:

        >>> w = torch.tensor(3.0, requires_grad=True)
        >>> adapted = adapt({"w": w}, lambda theta: theta["w"] ** 2, lr=0.25)
        >>> adapted["w"].item(), torch.autograd.grad(adapted["w"], w)[0].item()
        (1.5, 0.5)
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
    """`||theta||^2`, the regulariser of CoMet eq. 6 and 9.

    Example:
        >>> squared_norm({"weight": torch.tensor([3.0, 4.0]), "bias": torch.tensor([1.0])})
        tensor(26.)
    """
    return torch.stack([value.square().sum() for value in params.values()]).sum()


class TaskBatches:
    """Mini-batches of a training set that is divided into disjoint tasks (CoMet 3.3).

    Args:
        tasks: positions of the training images, at least 2 parts: `split_tasks` or `group_tasks`.
        batch_size: images of one meta-iteration, shared by the tasks' inner loops (and again by the outer).
        generator: draws the batches.

    Example:
        >>> tasks = [torch.tensor([0, 1]), torch.tensor([2, 3])]
        >>> first = next(TaskBatches(tasks, batch_size=4, generator=torch.Generator()).epoch())
        >>> [(sorted(own.tolist()), sorted(rest.tolist())) for own, rest in first]
        [([0, 1], [2, 3]), ([2, 3], [0, 1])]
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
    """Mini-batches of a training set that is not divided: what `TaskBatches` is without meta-learning.

    Example:
        >>> batches = JointBatches(4, batch_size=2, generator=torch.Generator())
        >>> sorted(i for [(batch, _)] in batches.epoch() for i in batch.tolist())
        [0, 1, 2, 3]
    """

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

    Example:
        >>> [len(task) for task in split_tasks(5, tasks=2, generator=torch.Generator())]
        [3, 2]
    """
    if not 2 <= tasks <= samples:
        raise ValueError(f"tasks: must be between 2 and the {samples} training images, got {tasks}")
    return list(torch.randperm(samples, generator=generator).tensor_split(tasks))


def group_tasks(groups: Tensor) -> list[Tensor]:
    """The positions of each value in `groups` `(S,)`: tasks that follow the images' categories.

    Raises:
        ValueError: fewer than two values.

    Example:
        >>> group_tasks(torch.tensor([7, 3, 7]))
        [tensor([1]), tensor([0, 2])]
    """
    tasks = [torch.nonzero(groups == group).flatten() for group in groups.unique()]
    if len(tasks) < 2:
        raise ValueError(f"groups: at least two are needed to make tasks of, got {len(tasks)}")
    return tasks


def endless_batches(members: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of `min(size, len(members))` from reshuffled passes over `members`, without end.

    Example:
        >>> batches = endless_batches(torch.tensor([4, 5]), size=1, generator=torch.Generator())
        >>> sorted(next(batches).item() for _ in range(4))
        [4, 4, 5, 5]
    """
    size = min(size, len(members))
    while True:
        order = members[torch.randperm(len(members), generator=generator)]
        for start in range(0, len(members) - size + 1, size):
            yield order[start : start + size]
