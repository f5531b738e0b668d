"""Soft confident learning: how far to trust a training image, and how hard to regularise (CoMet eq. 1-5)."""

import math
from collections import deque
from typing import overload

import numpy as np
import torch
from torch import Tensor

FLOOR = 0.01


def iqr_threshold(scores: Tensor | np.ndarray, kappa: float) -> float:
    """Outlier threshold of a set of scores, CoMet eq. 2: `t = Q3 + kappa (Q3 - Q1)`.

    Args:
        scores: `(S,)`, the confidence scores of the training set; higher is more anomalous.
        kappa: how many interquartile ranges above the third quartile still count as normal, >= 0.

    Returns:
        The threshold t, with linearly interpolated quartiles.

    Raises:
        ValueError: no score, a score that is not finite, or a negative kappa.

    Example:
        The quartiles are 2 and 4, so t = 4 + 1.5 (4 - 2):

        >>> iqr_threshold(np.array([1.0, 2.0, 3.0, 4.0, 14.0]), kappa=1.5)
        7.0
    """
    values = _checked(scores)
    if not kappa >= 0:
        raise ValueError(f"kappa: must be >= 0, got {kappa}")
    q1, q3 = np.quantile(values, [0.25, 0.75])
    return float(q3 + kappa * (q3 - q1))


@overload
def sample_weights(
    scores: Tensor,
    kappa: float | None,
    floor: float = ...,
    *,
    threshold: float | None = ...,
    hard: bool = ...,
) -> Tensor: ...
@overload
def sample_weights(
    scores: np.ndarray,
    kappa: float | None,
    floor: float = ...,
    *,
    threshold: float | None = ...,
    hard: bool = ...,
) -> np.ndarray: ...
def sample_weights(
    scores: Tensor | np.ndarray,
    kappa: float | None,
    floor: float = FLOOR,
    *,
    threshold: float | None = None,
    hard: bool = False,
) -> Tensor | np.ndarray:
    """Confidence weights of training samples, CoMet eq. 1: `w = min(1, t / a)`.

    At `t = 0` a score of 0 has weight 1 and any other the floor.

    Args:
        scores: `(S,)` non-negative confidence scores a; higher is more anomalous.
        kappa: see `iqr_threshold`, of which t is taken; not looked at where `threshold` is given.
        floor: the smallest weight, in (0, 1]: "minimal but non-zero".
        threshold: t, where it is known: CoMet takes it from all training images once and holds it for an
            epoch, and a fit keeps the last one.
        hard: scores above t have weight 0, whatever the floor: the hard filtering of CoZAD's Table 4.

    Returns:
        `(S,)` weights in [floor, 1], of the type of `scores`.

    Raises:
        ValueError: a score that is negative or not finite, a floor outside (0, 1], or neither kappa nor t.

    Examples:
        The threshold is 7, and 7 / 14 = 0.5:

        >>> sample_weights(np.array([1.0, 2.0, 3.0, 4.0, 14.0]), kappa=1.5)
        array([1. , 1. , 1. , 1. , 0.5])
        >>> scores = torch.tensor([3.5, 7.0, 14.0, 1400.0])
        >>> sample_weights(scores, None, threshold=7.0)
        tensor([1.0000, 1.0000, 0.5000, 0.0100])
        >>> sample_weights(scores, None, threshold=7.0, hard=True)
        tensor([1., 1., 0., 0.])
    """
    _check_non_negative(_checked(scores))
    if not 0 < floor <= 1:
        raise ValueError(f"floor: must be in (0, 1], got {floor}")
    if threshold is None:
        if kappa is None:
            raise ValueError("kappa: is needed where no threshold is given")
        threshold = iqr_threshold(scores, kappa)
    if not isinstance(scores, Tensor):
        values = np.asarray(scores)
        floats = torch.from_numpy(values if values.dtype.kind == "f" else values.astype(np.float64))
        return sample_weights(floats, None, floor, threshold=threshold, hard=hard).numpy()
    if hard:
        return (scores <= threshold).to(scores.dtype)
    weights = torch.where(scores <= threshold, 1.0, threshold / scores)
    return weights.clamp(floor, 1.0).to(scores.dtype)


def loss_covariance(train: Tensor | np.ndarray, val: Tensor | np.ndarray) -> Tensor:
    """Covariance of recent training and validation losses, CoMet eq. 4.

    Args:
        train: `(K,)` training losses of the last K iterations.
        val: `(K,)` validation losses of the same iterations.

    Returns:
        `(2, 2)` unbiased covariance, float64; zero for fewer than two pairs.

    Raises:
        ValueError: the two differ in length or hold a value that is not finite.

    Example:
        >>> loss_covariance(np.array([1.0, 3.0]), np.array([2.0, 6.0]))
        tensor([[2., 4.],
                [4., 8.]], dtype=torch.float64)
    """
    pairs = torch.stack([_losses(train), _losses(val)]) if len(train) == len(val) else None
    if pairs is None:
        raise ValueError(f"train and val: must have the same length, got {len(train)} and {len(val)}")
    if not bool(torch.isfinite(pairs).all()):
        raise ValueError("train and val: every loss must be finite")
    return torch.cov(pairs) if pairs.shape[1] >= 2 else torch.zeros((2, 2), dtype=torch.float64)


def adaptive_lambda(cov: Tensor | np.ndarray, lambda0: float, gamma: float) -> float:
    """Regularisation strength, CoMet eq. 5: `lambda0 (1 + gamma det Sigma)`.

    The 2 x 2 determinant is written out: two pairs of losses then give exactly 0 up to rounding, and
    rounding never makes it negative.

    Example:
        The determinant is 2 * 3 - 1 = 5:

        >>> adaptive_lambda(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), lambda0=0.25, gamma=2.0)
        2.75
    """
    sigma = torch.as_tensor(cov, dtype=torch.float64)
    if sigma.shape != (2, 2):
        raise ValueError(f"cov: must be (2, 2), got {tuple(sigma.shape)}")
    determinant = float(sigma[0, 0] * sigma[1, 1] - sigma[0, 1] * sigma[1, 0])
    return lambda0 * (1 + gamma * max(0.0, determinant))


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """`sum_i w_i L_i / sum_i w_i` over the last axis: CoMet eq. 3 as a mean, whatever the batch size.

    Where all weights are 0 (hard filtering may leave a batch empty) the mean is 0.

    Example:
        (1 * 2 + 0.25 * 10) / 1.25:

        >>> weighted_mean(torch.tensor([2.0, 10.0]), torch.tensor([1.0, 0.25]))
        tensor(3.6000)
    """
    return weighted_sum(losses, weights) / weights.sum(-1).clamp_min(torch.finfo(weights.dtype).tiny)


def weighted_sum(losses: Tensor, weights: Tensor) -> Tensor:
    """`sum_i w_i L_i` over the last axis: CoMet eq. 3 as it is printed.

    Example:
        >>> weighted_sum(torch.tensor([2.0, 10.0]), torch.tensor([1.0, 0.25]))
        tensor(4.5000)
    """
    return (weights * losses).sum(-1)


class LossWindow:
    """The losses of recent iterations, from which the model's uncertainty is read (CoMet eq. 4-5).

    Args:
        size: how many pairs of losses it remembers.
        lambda0: base regularisation.
        gamma: sensitivity to `det Sigma`.

    Example:
        Both variances are 1 and the covariance 1/2, so det Sigma = 3/4:

        >>> window = LossWindow(size=3, lambda0=0.25, gamma=4.0)
        >>> for train, val in [(9.0, 9.0), (1.0, 1.0), (2.0, 3.0), (3.0, 2.0)]:
        ...     window.add(train, val)  # the first pair is forgotten
        >>> window.strength()
        1.0
    """

    def __init__(self, size: int, lambda0: float, gamma: float) -> None:
        self.lambda0, self.gamma = lambda0, gamma
        self._pairs: deque[tuple[float, float]] = deque(maxlen=size)

    def add(self, train: float, val: float) -> None:
        """Remember one pair of losses."""
        self._pairs.append((train, val))

    def strength(self) -> float:
        """`lambda(Sigma)` of the remembered losses."""
        return adaptive_lambda(self._covariance(), self.lambda0, self.gamma)

    def summary(self) -> dict[str, float]:
        """For the log: did gamma do anything?"""
        train, val = np.mean(self._pairs, axis=0)
        determinant = float(torch.linalg.det(self._covariance()))
        return {"loss": float(train), "val_loss": float(val), "lambda": self.strength(), "det": determinant}

    def _covariance(self) -> Tensor:
        train, val = np.array(self._pairs, dtype=np.float64).reshape(-1, 2).T
        return loss_covariance(train, val)


def _losses(values: Tensor | np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64).detach().cpu().reshape(-1)


def _checked(scores: Tensor | np.ndarray) -> np.ndarray:
    raw = scores.detach().double().cpu().numpy() if isinstance(scores, Tensor) else np.asarray(scores)
    values = raw.astype(np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"scores: must be a non-empty vector (S,), got shape {values.shape}")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(f"scores: must be finite, got {bad} values that are not")
    return values


def _check_non_negative(values: np.ndarray) -> None:
    smallest = float(values.min())
    if smallest < 0 or math.isnan(smallest):
        raise ValueError(
            f"scores: confidence scores must be >= 0 (eq. 1 divides by them), got {smallest:g}; "
            "use a non-negative score such as the hinge loss or mean(z^2)"
        )
