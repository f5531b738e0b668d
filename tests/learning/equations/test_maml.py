"""CoMet eq. 7-8 against values computed by hand."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from adlib.learning.equations.maml import (
    TaskBatches,
    adapt,
    endless_batches,
    group_tasks,
    split_tasks,
    squared_norm,
)

A, B, C, D, ALPHA = 3.0, 2.0, 1.0, -4.0, 0.1


def meta_gradient(w0: float, *, second_order: bool, steps: int = 1) -> tuple[float, float]:
    """w' and the gradient of b/2 (w' - d)^2 with respect to w, for the inner loss a/2 (w - c)^2."""
    w = torch.tensor(w0, dtype=torch.float64, requires_grad=True)
    adapted = adapt({"w": w}, lambda p: A / 2 * (p["w"] - C) ** 2, ALPHA, steps, second_order)["w"]
    (gradient,) = torch.autograd.grad(B / 2 * (adapted - D) ** 2, w)
    return adapted.item(), gradient.item()


def test_meta_gradient_by_hand():
    adapted, gradient = meta_gradient(2.0, second_order=True)
    assert adapted == pytest.approx(2.0 - ALPHA * A * (2.0 - C))
    assert gradient == pytest.approx(B * (adapted - D) * (1 - ALPHA * A))


def test_first_order_leaves_the_inner_curvature_out():
    adapted, gradient = meta_gradient(2.0, second_order=False)
    assert gradient == pytest.approx(B * (adapted - D))


def test_several_steps_by_hand():
    adapted, gradient = meta_gradient(2.0, second_order=True, steps=3)
    assert adapted == pytest.approx(C + (1 - ALPHA * A) ** 3 * (2.0 - C))
    assert gradient == pytest.approx(B * (adapted - D) * (1 - ALPHA * A) ** 3)


def test_adapt_changes_neither_parameters_nor_buffers():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x = torch.randn(8, 3)

    def loss(params: dict[str, torch.Tensor]) -> torch.Tensor:
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        return functional_call(net, (params, buffers), (x,)).square().mean()

    adapted = adapt(dict(net.named_parameters()), loss, 0.1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not torch.equal(adapted["0.weight"], before["0.weight"])


def test_adapt_refuses_no_step():
    with pytest.raises(ValueError, match="steps"):
        adapt({}, lambda _: torch.zeros(()), 0.1, steps=0)


def test_squared_norm():
    params = {"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([[2.0]])}
    assert squared_norm(params).item() == pytest.approx(29)


def test_tasks_partition_the_samples():
    tasks = split_tasks(11, 4, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(tasks).tolist()) == list(range(11))
    assert sorted(map(len, tasks)) == [2, 3, 3, 3]
    with pytest.raises(ValueError, match="tasks"):
        split_tasks(3, 4, torch.Generator())


def test_tasks_follow_groups_and_outer_batches_come_from_the_others():
    groups = torch.tensor([7, 2, 7, 2, 2, 5, 5, 5, 7])
    tasks = group_tasks(groups)
    assert [task.tolist() for task in tasks] == [[1, 3, 4], [5, 6, 7], [0, 2, 8]]
    rounds = TaskBatches(tasks, 6, torch.Generator().manual_seed(0))
    for batches in [*rounds.epoch(), *rounds.epoch()]:
        assert [len(inner) for inner, _ in batches] == [2, 2, 2]
        for (inner, outer), value in zip(batches, (2, 5, 7), strict=True):
            assert (groups[inner] == value).all()
            assert (groups[outer] != value).all()
    with pytest.raises(ValueError, match="groups: at least two"):
        group_tasks(torch.zeros(4))


def test_endless_batches_cover_every_pass():
    batches = endless_batches(torch.arange(10, 16), 3, torch.Generator().manual_seed(1))
    for _ in range(3):
        assert sorted(torch.cat([next(batches), next(batches)]).tolist()) == list(range(10, 16))
    small = endless_batches(torch.arange(2), 5, torch.Generator())
    assert sorted(next(small).tolist()) == [0, 1]
