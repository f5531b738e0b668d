"""CoMet eq. 1-5 against values computed by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adlib.learning.equations.confidence import (
    adaptive_lambda,
    iqr_threshold,
    loss_covariance,
    sample_weights,
    weighted_mean,
)

SCORES = st.lists(st.floats(0, 1e6), min_size=2, max_size=50)


def test_threshold_by_hand():
    # Quartiles of 1, 2, 3, 4, 10 are 2 and 4: t = 4 + 1.5 * 2.
    scores = torch.tensor([10.0, 1.0, 3.0, 2.0, 4.0], dtype=torch.float64)
    assert iqr_threshold(scores, 1.5) == pytest.approx(7.0)
    assert iqr_threshold(scores.numpy(), 0.0) == pytest.approx(4.0)


def test_quartiles_interpolate_linearly():
    # Q1 = 1.75 and Q3 = 3.25 for 1, 2, 3, 4.
    assert iqr_threshold(np.array([1.0, 2, 3, 4]), 1.0) == pytest.approx(3.25 + 1.5)


def test_weights_by_hand():
    weights = sample_weights(torch.tensor([1.0, 2, 3, 4, 14], dtype=torch.float64), 1.5)
    assert weights.tolist() == pytest.approx([1, 1, 1, 1, 0.5])


def test_weights_keep_type_and_dtype():
    assert isinstance(sample_weights(np.array([1.0, 2.0]), 1.0), np.ndarray)
    assert sample_weights(torch.ones(3, dtype=torch.float32), 1.0).dtype == torch.float32
    assert sample_weights(np.array([1, 2, 3, 50]), 1.0).dtype.kind == "f"


def test_floor_and_zero_threshold():
    weights = sample_weights(torch.tensor([0.0, 1e-9, 5.0]), None, floor=0.02, threshold=0.0)
    assert weights.tolist() == pytest.approx([1, 0.02, 0.02])


@given(SCORES, st.floats(0, 5), st.floats(1e-3, 1))
def test_weights_are_in_range_and_fall_with_the_score(values: list[float], kappa: float, floor: float):
    scores = np.sort(np.array(values))
    weights = sample_weights(scores, kappa, floor)
    assert ((weights >= floor) & (weights <= 1)).all()
    assert (np.diff(weights) <= 0).all()


@given(SCORES, st.floats(0, 3))
def test_larger_kappa_never_lowers_a_weight(values: list[float], kappa: float):
    scores = np.array(values)
    assert (sample_weights(scores, kappa + 1) >= sample_weights(scores, kappa)).all()


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0, -0.1], "must be >= 0"),
        ([1.0, float("nan")], "must be finite"),
        ([1.0, float("inf")], "must be finite"),
        ([], "non-empty"),
    ],
)
def test_bad_scores_are_errors_not_weights(scores: list[float], message: str):
    with pytest.raises(ValueError, match=message):
        sample_weights(np.array(scores), 1.0)


def test_bad_settings():
    with pytest.raises(ValueError, match="kappa"):
        iqr_threshold(np.ones(3), -1.0)
    with pytest.raises(ValueError, match="floor"):
        sample_weights(np.ones(3), 1.0, floor=0.0)
    with pytest.raises(ValueError, match="shape"):
        sample_weights(np.ones((3, 2)), 1.0)


def test_covariance_by_hand():
    # Means 2 and 5: deviations (-1, 0, 1) and (-1, -1, 2).
    cov = loss_covariance(torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 4, 7]))
    assert np.allclose(cov, [[1, 1.5], [1.5, 3]])
    assert adaptive_lambda(cov, 0.005, 0.5) == pytest.approx(0.005 * (1 + 0.5 * 0.75))


def test_determinant_of_few_pairs_is_zero():
    one = loss_covariance(torch.tensor([0.3]), torch.tensor([0.4]))
    assert adaptive_lambda(one, 0.005, 0.5) == 0.005
    two = loss_covariance(torch.tensor([0.3, 0.1]), torch.tensor([0.4, 0.9]))
    assert adaptive_lambda(two, 0.005, 0.5) == pytest.approx(0.005, abs=1e-15)


def test_covariance_refuses_unlike_lengths_and_nan():
    with pytest.raises(ValueError, match="same length"):
        loss_covariance(torch.ones(3), torch.ones(2))
    with pytest.raises(ValueError, match="finite"):
        loss_covariance(torch.tensor([1.0, float("nan")]), torch.ones(2))
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        adaptive_lambda(torch.ones(3, 3), 0.005, 0.5)


def test_hard_filtering_gives_zero_above_the_threshold():
    scores = torch.tensor([0.0, 1.0, 1.001, 9.0], dtype=torch.float64)
    assert sample_weights(scores, None, threshold=1.0, hard=True).tolist() == [1, 1, 0, 0]


def test_mean_of_a_batch_without_any_weight_is_zero():
    losses = torch.tensor([3.0, 4.0], requires_grad=True)
    mean = weighted_mean(losses, torch.zeros(2))
    assert mean.item() == 0
    assert torch.autograd.grad(mean, losses)[0].tolist() == [0, 0]
