"""The first sentences never claim more than seeds and test images support; paired tests by hand."""

import math

import numpy as np
import pytest
from fake_outputs import configure, make_outputs

from adlib.evaluation.metrics import delong_test
from adlib.report.details import paired_rows
from adlib.report.per_image import (
    FitImages,
    PairedTest,
    by_fit,
    mean_test,
    paired_test,
    read_rows,
    summarise_weights,
)
from adlib.report.results import Results, read_results
from adlib.report.verdict import ranking, signed, verdict


def results(values, *, levels=(0.1,), categories=("a",)) -> Results:
    """Image AUROC `(C, M, L, S)`."""
    array = np.array(values)[..., None]
    methods = tuple("xyz"[: array.shape[1]])
    return Results("d", categories, methods, levels, tuple(range(array.shape[3])), ("image_auroc",), array)


def test_a_clear_lead_over_seeds_is_called_one():
    (sentence,) = verdict(results([[[[0.80, 0.81]], [[0.90, 0.91]]]]), {})
    assert sentence == (
        "With 10 % anomalies in the training set, y leads with an image AUROC on a of 0.905 "
        "(± 0.007 over 2 seeds), 0.100 ahead of x."
    )


def test_a_lead_within_the_spread_is_not():
    (sentence,) = verdict(results([[[[0.80, 0.90]], [[0.85, 0.91]]]]), {})
    assert "that is within the spread over seeds (0.071), so neither is shown to be better." in sentence


def test_clean_and_noisiest_level_get_a_sentence_each_and_the_mean_is_named():
    values = [[[[0.9], [0.8], [0.5]], [[0.8], [0.9], [0.6]]]] * 2
    found = verdict(results(values, levels=(0.0, 0.1, 0.2), categories=("a", "b")), {})
    assert "Trained on clean images, x leads with a mean image AUROC over 2 categories of 0.9" in found[0]
    assert found[1].startswith("With 20 % anomalies in the training set, y leads")
    assert found[2].startswith("Only one seed was run")
    assert len(found) == 3


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (PairedTest(0.1, 0.01), "0.100 ahead of x (95 % interval over test images +0.080 to +0.120)."),
        (
            PairedTest(0.1, 0.1),
            ", which these test images do not settle (95 % interval over test images −0.096",
        ),
    ],
)
def test_with_one_seed_the_test_images_decide(test: PairedTest, words: str):
    assert words in verdict(results([[[[0.8]], [[0.9]]]]), {0.1: test})[0]


def test_equal_numbers_have_no_leader():
    found = verdict(results([[[[0.8001]], [[0.8]]]]), {})[0]
    assert "x and y are level at an image AUROC on a of 0.800." in found


def test_a_single_method_leads_nobody():
    assert verdict(results([[[[0.8]]]]), {}) == [
        "With 10 % anomalies in the training set, x reaches an image AUROC on a of 0.800."
    ]


def test_a_method_that_trained_elsewhere_did_not_train_on_these_images():
    assert verdict(results([[[[0.8]]]]), {}, trained_elsewhere=True) == [
        "Trained on another set, x reaches an image AUROC on a of 0.800."
    ]


def test_ranking_is_by_the_mean_over_categories_and_seeds():
    found, values = ranking(results([[[[0.9]], [[0.8]]], [[[0.5]], [[0.8]]]], categories=("a", "b")), 0.1)
    assert found == [1, 0]
    np.testing.assert_allclose(values, [[0.7], [0.8]])


def test_differences_carry_a_real_minus():
    assert (signed(0.0123), signed(-0.5)) == ("+0.012", "−0.500")


def images(scores, labels, *, ids: str = "abcdefgh", weights=None, injected=()) -> FitImages:
    truth = np.array(labels, dtype=bool)
    names = tuple(ids[: len(truth)])
    suspicion = None if weights is None else -(weights**2)
    injected = np.array(injected, dtype=bool)
    return FitImages(names, truth, np.array(scores, dtype=float), injected, weights, suspicion)


LABELS = [0, 0, 0, 1, 1, 1]


def test_paired_test_is_delongs():
    a, b = [1, 2, 5, 4, 6, 7], [3, 1, 5, 2, 4, 6]
    found, expected = paired_test(images(a, LABELS), images(b, LABELS)), delong_test(a, b, LABELS)
    assert found is not None
    assert found.difference == pytest.approx(expected.difference)
    assert found.p_value == pytest.approx(expected.p_value)
    half = 1.96 * expected.standard_error
    assert found.interval == pytest.approx((expected.difference - half, expected.difference + half))


def test_no_paired_test_of_other_images_or_of_a_lone_anomaly():
    a = images([1, 2, 3, 4, 5, 6], LABELS)
    assert paired_test(a, images([1, 2, 3, 4, 5, 6], LABELS, ids="uvwxyz")) is None
    lone = images([1, 2, 3], [0, 0, 1])
    assert paired_test(lone, lone) is None


@pytest.mark.parametrize(("difference", "p"), [(0.0, 1.0), (0.1, 0.0)])
def test_without_variance_the_difference_decides(difference: float, p: float):
    assert PairedTest(difference, 0.0).p_value == p


def test_mean_over_categories_by_hand():
    mean = mean_test([PairedTest(0.1, 0.03), PairedTest(0.3, 0.04)])
    assert mean.difference == pytest.approx(0.2)
    assert mean.standard_error == pytest.approx(0.025)
    assert mean.p_value == pytest.approx(math.erfc(8 / math.sqrt(2)))


def test_paired_rows_cover_both_ends_and_start_with_the_mean(params, tmp_path):
    chosen = configure(params, levels=(0.0, 0.05, 0.1))
    workspace = make_outputs(tmp_path, chosen)
    cells = {
        (c, m): by_fit(read_rows(workspace, c, m)) for c in ("mono", "poly") for m in chosen.methods.names
    }
    rows = paired_rows(read_results(chosen, workspace), cells)
    assert [row.noise for row in rows] == [0.0, 0.1]
    for row in rows:
        assert list(row.tests) == ["Mean over 2 categories", "mono", "poly"]
        assert row.overall == row.tests["Mean over 2 categories"]
        assert {row.leader, row.other} == {"simplenet", "patchcore"}
    assert paired_rows(read_results(configure(params, methods=("patchcore",)), workspace), cells) == []


def test_weights_are_summarised_by_hand():
    fits = [
        images([], [], weights=np.array([0.2, 0.8, 0.6, 1.0]), injected=[1, 0, 1, 0]),
        images([], [], weights=np.array([0.9, 0.5, 1.0, 0.5]), injected=[1, 0, 1, 0]),
    ]
    found = summarise_weights(fits)
    assert found is not None
    assert (found.injected, found.clean) == (2, 2)
    assert found.injected_weight == pytest.approx((0.4 + 0.95) / 2)
    assert found.clean_weight == pytest.approx((0.9 + 0.5) / 2)
    assert found.found == pytest.approx((1.0 + 0.0) / 2)
    assert found.ranked == found.found, "here suspicion orders the images as the weights do"


def test_no_summary_without_weights_or_injected_images():
    clean = images([], [], weights=np.array([0.5, 1.0]), injected=[0, 0])
    unweighted = images([], [], injected=[1, 0])
    assert summarise_weights([clean, unweighted]) is None
