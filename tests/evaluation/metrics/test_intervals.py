"""Bootstrap intervals and DeLong's test against literal versions, hand values and simulation."""

import math

import numpy as np
import pytest

from adlib.evaluation.metrics import auroc, average_precision, bootstrap_interval, delong_test, f1_max
from adlib.evaluation.metrics.intervals import mean_interval


def tied_scores(images: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two related methods' scores with ties, and labels in mixed order."""
    rng = np.random.default_rng(seed)
    labels = rng.random(images) < 0.4
    signal = labels + rng.standard_normal(images)
    a, b = (np.round(signal + rng.normal(0, noise, images), 1) for noise in (0.2, 1.0))
    return a, b, labels


def test_the_seed_alone_decides_the_interval() -> None:
    a, _, labels = tied_scores()
    first, again, other = (
        bootstrap_interval(auroc, a, labels, rng=np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert first == again != other


def test_draws_are_stratified_and_from_the_given_images() -> None:
    a, _, labels = tied_scores()
    seen = []

    def record(scores: np.ndarray, truth: np.ndarray) -> float:
        assert set(scores[truth]) <= set(a[labels])
        assert set(scores[~truth]) <= set(a[~labels])
        seen.append((truth.sum(), truth.size, len(set(scores))))
        return 0.0

    assert bootstrap_interval(record, a, labels, draws=50, rng=np.random.default_rng(0)) == (0.0, 0.0)
    assert len(seen) == 50
    assert {counts[:2] for counts in seen} == {(labels.sum(), labels.size)}
    assert max(distinct for *_, distinct in seen) < len(set(a))  # with replacement


def test_interval_brackets_the_value_and_narrows_with_the_level() -> None:
    a, _, labels = tied_scores(images=200)
    for metric in (auroc, average_precision, lambda scores, truth: f1_max(scores, truth)[0]):
        wide, narrow = (
            bootstrap_interval(metric, a, labels, level=level, draws=300, rng=np.random.default_rng(0))
            for level in (0.95, 0.5)
        )
        assert wide[0] < narrow[0] < narrow[1] < wide[1]
        assert wide[0] < metric(a, labels) < wide[1]


def test_bootstrap_spread_agrees_with_delong() -> None:
    a, _, labels = tied_scores(images=400)
    low, high = bootstrap_interval(auroc, a, labels, level=0.6827, draws=2000, rng=np.random.default_rng(0))
    against_chance = delong_test(a, np.zeros(400), labels)
    assert against_chance.difference == pytest.approx(auroc(a, labels) - 0.5, abs=1e-15)
    assert (high - low) / 2 == pytest.approx(against_chance.standard_error, rel=0.1)


def test_perfect_scores_have_no_spread() -> None:
    assert bootstrap_interval(auroc, [1, 2, 3, 4], [0, 0, 1, 1], rng=np.random.default_rng(0)) == (1.0, 1.0)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, -0.5, float("nan")])
def test_bad_level_is_refused(level) -> None:
    with pytest.raises(ValueError, match=r"level: expected a fraction in \(0, 1\)"):
        bootstrap_interval(auroc, [1, 2], [0, 1], level=level, rng=np.random.default_rng(0))


def test_bad_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="draws: expected at least 1, got 0"):
        bootstrap_interval(auroc, [1, 2], [0, 1], draws=0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("metric", [f1_max, lambda scores, truth: None])
def test_metric_that_is_not_one_number_is_refused(metric) -> None:
    with pytest.raises(ValueError, match="metric: expected one number, got"):
        bootstrap_interval(metric, [1, 2], [0, 1], draws=3, rng=np.random.default_rng(0))


def delong_by_definition(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Difference and standard error from the full kernel matrices (DeLong et al. 1988)."""
    kernels = []
    for scores in (a, b):
        gap = scores[labels][:, None] - scores[~labels][None, :]
        kernels.append((gap > 0) + 0.5 * (gap == 0))
    difference = kernels[0].mean() - kernels[1].mean()
    s10 = np.cov([kernel.mean(axis=1) for kernel in kernels])
    s01 = np.cov([kernel.mean(axis=0) for kernel in kernels])
    covariance = s10 / labels.sum() + s01 / (~labels).sum()
    contrast = np.array([1, -1])
    return difference, math.sqrt(contrast @ covariance @ contrast)


@pytest.mark.parametrize("seed", range(5))
def test_delong_matches_its_definition_with_ties(seed) -> None:
    a, b, labels = tied_scores(seed=seed)
    result = delong_test(a, b, labels)
    difference, error = delong_by_definition(a, b, labels)
    assert result.difference == pytest.approx(difference, abs=1e-12)
    assert result.difference == pytest.approx(auroc(a, labels) - auroc(b, labels), abs=1e-15)
    assert result.standard_error == pytest.approx(error, abs=1e-12)
    normal_cdf = 0.5 * (1 + math.erf(abs(difference) / error / math.sqrt(2)))
    assert result.p_value == pytest.approx(2 * (1 - normal_cdf), abs=1e-12)


def test_delong_by_hand() -> None:
    # Placements of a: anomalous 1, 1/2; normal 1, 1/2 (shares won by the anomalous). b separates perfectly.
    # Differences 0, -1/2 in both classes: variance 1/8 each, over two images each: 1/16 + 1/16.
    result = delong_test([4, 2, 3, 1], [4, 3, 2, 1], [1, 1, 0, 0])
    assert result.difference == -0.25
    assert result.standard_error == pytest.approx(math.sqrt(1 / 8), abs=1e-15)
    assert result.p_value == pytest.approx(math.erfc(0.25 / math.sqrt(1 / 8) / math.sqrt(2)), abs=1e-15)


def test_delong_is_antisymmetric_and_sees_only_ranks() -> None:
    a, b, labels = tied_scores()
    forward, backward = delong_test(a, b, labels), delong_test(b, a, labels)
    assert (forward.difference, forward[1:]) == (-backward.difference, backward[1:])
    assert delong_test(np.exp(a), 3 * b - 1, labels) == forward


def test_delong_degenerate_answers() -> None:
    a, _, labels = tied_scores()
    assert delong_test(a, 2 * a, labels) == (0.0, 0.0, 1.0)
    assert delong_test(labels.astype(float), np.zeros(labels.size), labels) == (0.5, 0.0, 0.0)


def test_delong_rejects_at_its_level_under_the_null() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([False, True], [60, 40])
    p_values = []
    for _ in range(400):
        signal = labels + rng.standard_normal(100)
        a, b = signal + rng.standard_normal((2, 100))
        p_values.append(delong_test(a, b, labels).p_value)
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.045)  # three standard errors


@pytest.mark.parametrize("labels", [[1, 0, 0, 0], [1, 1, 1, 0]])
def test_delong_needs_two_images_of_each_class(labels) -> None:
    with pytest.raises(ValueError, match="labels: expected at least 2 images of each class"):
        delong_test([1, 2, 3, 4], [4, 3, 2, 1], labels)


def test_delong_names_the_broken_method() -> None:
    with pytest.raises(ValueError, match="scores_b: expected finite values"):
        delong_test([1, 2, 3, 4], [1, 2, 3, np.nan], [0, 0, 1, 1])


def test_students_interval_of_a_mean() -> None:
    """1, 2, 3: mean 2, standard error 1 / sqrt(3), and 4.3027 of them at two degrees of freedom."""
    low, high = mean_interval([1.0, 2.0, 3.0])
    assert math.isclose(low, 2 - 4.302653 / math.sqrt(3), abs_tol=1e-5)
    assert math.isclose(high, 2 + 4.302653 / math.sqrt(3), abs_tol=1e-5)
    narrow = mean_interval([1.0, 2.0, 3.0], level=0.5)
    assert low < narrow[0] < narrow[1] < high
    with pytest.raises(ValueError, match="values: expected at least 2 in one row, got shape"):
        mean_interval([1.0])
    with pytest.raises(ValueError, match=r"level: expected a fraction in \(0, 1\), got 95"):
        mean_interval([1.0, 2.0], level=95)
