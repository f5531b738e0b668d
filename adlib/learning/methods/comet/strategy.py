"""CoMet: soft confident learning and meta-learning over any head (Aqeel et al., eq. 1-9).

per epoch                 t from all training images                                  eq. 2
  per meta-iteration      lambda(Sigma) from the recent losses                         eq. 4, 5
    per task T_i          theta' = theta - alpha grad L_SCL(images of T_i, theta)      eq. 6, 7
                          meta loss += L_SCL(images of other tasks, theta')            eq. 9
    theta <- theta - beta grad (meta loss), through the inner steps                    eq. 8
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from adlib.base.device import mixed_precision
from adlib.base.progress import track
from adlib.base.rng import torch_stream
from adlib.config.methods import StrategyParams
from adlib.learning.equations.confidence import (
    LossWindow,
    iqr_threshold,
    sample_weights,
    weighted_mean,
    weighted_sum,
)
from adlib.learning.equations.maml import (
    JointBatches,
    ParamDict,
    TaskBatches,
    adapt,
    group_tasks,
    split_tasks,
    squared_norm,
)
from adlib.learning.methods.epochs import Optimiser

SCORED = 32  # images at a time


class Sampled(Protocol):
    """A batch as a head draws it; `images` `(B,)` are positions in the training set."""

    @property
    def images(self) -> Tensor: ...


Batch = TypeVar("Batch", bound=Sampled)


class Learner(Protocol[Batch]):
    """What CoMet needs of a head: losses and confidence scores as functions of its parameters theta."""

    @property
    def module(self) -> nn.Module:
        """Its `named_parameters()` are theta."""
        ...

    def draw(self, images: Tensor, *, twins: bool = True) -> Batch:
        """A random batch of the images at positions `(B,)`; `scores` need none of the twins of `losses`."""
        ...

    def losses(self, theta: ParamDict, batch: Batch, *, update_statistics: bool) -> Tensor:
        """`L_AD` of every image, `(B,)`; without `update_statistics` buffers are left alone."""
        ...

    def scores(self, theta: ParamDict, batch: Batch) -> Tensor:
        """The non-negative confidence score `a_i` of every image of the batch, `(B,)`."""
        ...

    def all_scores(self) -> Tensor:
        """`a_i` of every training image at the present parameters: `(S,)` on the CPU."""
        ...

    def optimiser(self, steps: int, *, weight_decay: float | None) -> Optimiser:
        """Of the outer steps; a `weight_decay` of None leaves the head its own."""
        ...


class Confidence(NamedTuple):
    """What training says about its images: weights `(S,)` in [0, 1], the scores behind them, t, a log."""

    weights: Tensor
    scores: Tensor
    threshold: float
    log: list[dict[str, Any]]


def train_comet(
    learner: Learner[Any],
    params: StrategyParams,
    kappa: float,
    trust: Tensor,
    *,
    seed: int,
    device: torch.device,
    name: str,
    batch_term: Callable[[ParamDict, Any], Tensor] | None = None,
    hard: bool = False,
    groups: Tensor | None = None,
) -> Confidence:
    """Train a head by CoMet for a fixed number of epochs.

    Args:
        learner: the head.
        params: the strategy; each of its three parts can be switched off (Table 5).
        kappa: eq. 2.
        trust: `(S,)` weights of the training images before training; ones for the paper's method.
        seed: of the tasks and batches.
        device: for mixed precision.
        name: shown beside the progress bar.
        batch_term: a further loss of theta and a batch as a whole, added in both loops; None for CoMet.
        hard: leave out for an epoch the images that are doubted at its start, as other confident learning
            does (CoZAD Table 4).
        groups: `(S,)` categories of the training images, a task each; None: `params.tasks` at random.
    """
    batches = _batches(params, len(trust), groups, torch_stream(seed, "comet", "tasks"))
    # ||theta||^2 of eq. 6 takes the place of the optimiser's weight decay.
    decay = 0.0 if params.model_uncertainty else None
    optimiser = learner.optimiser(params.epochs * batches.iterations, weight_decay=decay)
    window = LossWindow(params.window, params.lambda0, params.gamma)
    log = []
    with track(name, params.epochs, "epochs") as advance:
        for epoch in range(params.epochs):
            scores = drawn_scores(learner, len(trust))
            threshold = iqr_threshold(scores, kappa)  # eq. 2, held for the epoch
            loss = _epoch_loss(learner, params, scores, threshold, trust, batch_term, hard)
            for tasks in batches.epoch():
                # lambda(Sigma) of the recent losses, eq. 4 and 5
                strength = window.strength() if params.model_uncertainty else 0.0
                optimiser.zero_grad()
                for own, others in tasks:
                    with mixed_precision(device):
                        if params.meta_learning:
                            inner, outer = learner.draw(own), learner.draw(others)
                            train, val = meta_losses(loss, params, strength, inner, outer)  # eq. 6, 7 and 9
                        else:  # training is validation, so that det Sigma is 0
                            batch = learner.draw(others)
                            train = val = loss(loss.theta, batch, strength, update_statistics=True)  # eq. 6
                    (val / len(tasks)).backward()
                    window.add(float(train.detach()), float(val.detach()))
                optimiser.step()  # eq. 8, through the inner steps
            log.append({"epoch": epoch, "threshold": threshold, **window.summary()})
            advance(1)
    scores = learner.all_scores()
    threshold = _doubted_above(iqr_threshold(scores, kappa), params)
    weights = trust * sample_weights(scores, kappa, params.floor, threshold=threshold, hard=hard)
    return Confidence(weights, scores, threshold, log)


class MetaLosses(NamedTuple):
    """Losses of one task: `train` at theta, and `val` at theta', differentiable in theta."""

    train: Tensor
    val: Tensor


def meta_losses(
    loss: "SclLoss[Batch]", params: StrategyParams, strength: float, inner: Batch, outer: Batch
) -> MetaLosses:
    """Adapt to a task (eq. 7), then measure the adapted parameters on the other tasks (eq. 9)."""
    inner_losses: list[Tensor] = []

    def inner_loss(theta: ParamDict) -> Tensor:
        inner_losses.append(loss(theta, inner, strength, update_statistics=False))
        return inner_losses[-1]

    adapted = adapt(loss.theta, inner_loss, params.inner_lr, params.inner_steps, params.second_order)
    return MetaLosses(inner_losses[0].detach(), loss(adapted, outer, strength, update_statistics=True))


@torch.no_grad()
def drawn_scores(learner: Learner[Any], samples: int) -> Tensor:
    """`a_i` of every training image from a draw like those of the batches that t is held against: `(S,)`."""
    theta = dict[str, Tensor](learner.module.named_parameters())
    batches = torch.arange(samples).split(SCORED)
    return torch.cat([learner.scores(theta, learner.draw(images, twins=False)).cpu() for images in batches])


def _batches(
    params: StrategyParams, samples: int, groups: Tensor | None, generator: torch.Generator
) -> TaskBatches | JointBatches:
    if not params.meta_learning:
        return JointBatches(samples, params.batch_size, generator)
    tasks = split_tasks(samples, params.tasks, generator) if groups is None else group_tasks(groups)
    return TaskBatches(tasks, params.batch_size, generator)


def _epoch_loss(
    learner: Learner[Batch],
    params: StrategyParams,
    scores: Tensor,
    threshold: float,
    trust: Tensor,
    batch_term: Callable[[ParamDict, Batch], Tensor] | None,
    hard: bool,
) -> "SclLoss[Batch]":
    """The loss with the t of an epoch; under hard filtering, without the images that are above it now."""
    doubted = _doubted_above(threshold, params)
    if hard:
        # Not at theta: early in an epoch losses rise, all images pass the held t, and with whole
        # batches of weight 0 among the others det Sigma runs away.
        trust = trust * sample_weights(scores, None, params.floor, threshold=doubted, hard=True)
        doubted = float("inf")
    return SclLoss(learner, doubted, params.floor, trust, params.loss == "sum", batch_term)


def _doubted_above(threshold: float, params: StrategyParams) -> float:
    """Without data uncertainty no score is doubted: every weight is 1."""
    return threshold if params.data_uncertainty else float("inf")


@dataclass(frozen=True)
class SclLoss(Generic[Batch]):
    """The soft confident learning loss as a function of the head's parameters, CoMet eq. 6 and 9.

    `sum_i w_i L_i / sum_i w_i + lambda ||theta||^2`, or the plain sum: the weights follow the parameters, but
    no gradient flows through them.
    """

    learner: Learner[Batch]
    threshold: float
    floor: float
    trust: Tensor
    summed: bool = False
    batch_term: Callable[[ParamDict, Batch], Tensor] | None = None

    @property
    def theta(self) -> ParamDict:
        """The head's present parameters."""
        return dict[str, Tensor](self.learner.module.named_parameters())

    def __call__(self, theta: ParamDict, batch: Batch, strength: float, *, update_statistics: bool) -> Tensor:
        """The loss of a batch; without `update_statistics` the head's buffers are left alone."""
        losses = self.learner.losses(theta, batch, update_statistics=update_statistics)
        with torch.no_grad():
            scores = self.learner.scores(theta, batch)
            weights = sample_weights(scores, None, self.floor, threshold=self.threshold)  # eq. 1
            weights = self.trust[batch.images].to(scores.device) * weights
        combine = weighted_sum if self.summed else weighted_mean
        value = combine(losses, weights) + strength * squared_norm(theta)
        return value if self.batch_term is None else value + self.batch_term(theta, batch)
