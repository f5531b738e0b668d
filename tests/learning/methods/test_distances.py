"""The discriminator of distances: what it is to learn, that it learns it, and how its score is added."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from toys import CPU, toy_features

from adlib.config.methods import DistancesParams, PaintedParams
from adlib.config.params import Params
from adlib.data.rows import Features, FeatureView
from adlib.learning.heads.simplenet import SimpleNet
from adlib.learning.methods.comet.distances import (
    KnownDistances,
    TwoDiscriminators,
    known_distances,
    restore_comet_sn,
    standard_logs,
    train_distances,
    trusted_images,
)
from adlib.learning.methods.comet.sn import fit_comet_sn
from adlib.learning.methods.comet.twins import PaintedCopies, PaintedTwins
from adlib.learning.methods.simplenet.sampling import SimpleNetDetector

SETTINGS = DistancesParams(enabled=True, patches=64, trusted=0.25, steps=60)


def view(features: Features) -> FeatureView:
    return features.select(features.info.ids)


@pytest.fixture
def four() -> FeatureView:
    return view(toy_features(4, 0))


def head_of(features: FeatureView) -> SimpleNet:
    return SimpleNet(features.width, 5, torch.Generator().manual_seed(0))


def rows_of(features: FeatureView) -> torch.Tensor:
    return features.batch(np.arange(len(features)), CPU)


def by_hand(rows: torch.Tensor, trusted: list[int]) -> torch.Tensor:
    """Distances `(S, P)` to the nearest patch of another trusted image."""
    return torch.stack(
        [
            torch.cdist(rows[s], rows[[t for t in trusted if t != s]].flatten(0, 1)).amin(1)
            for s in range(len(rows))
        ]
    )


def test_known_distances_by_hand(four: FeatureView):
    """The fourth image is doubted: the others do not look at it, and it looks at all of them."""
    rows, weights = rows_of(four), torch.tensor([1, 1, 1, 0.2])
    (known,) = known_distances(rows, weights, torch.tensor([0, 1, 2]), None, head_of(four))
    expected = standard_logs(by_hand(rows.double(), [0, 1, 2]).flatten()).float()
    torch.testing.assert_close(known.distances, expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(known.patches, rows.flatten(0, 1))
    torch.testing.assert_close(known.chances, weights.repeat_interleave(64))


def test_a_painted_twin_does_not_count_its_original(four: FeatureView):
    rows = rows_of(four)
    shifted = rows.clone()
    shifted[1, 5] += 3.0
    copies = Features(toy_features(4, 0).info, shifted.numpy().astype(np.float16)).select(four.ids)
    painted = PaintedParams(share=0.5, distance=1.0, defects=1)
    weights = torch.tensor([1, 0.5, 1, 1])
    twins = PaintedTwins(PaintedCopies(painted, copies), four, torch.ones(four.width), weights, 0)
    known = known_distances(rows, weights, torch.arange(4), twins, head_of(four))
    own = torch.cdist(twins.patches, rows[[0, 2, 3]].flatten(0, 1)).amin(1)
    together = standard_logs(torch.cat([by_hand(rows, [0, 1, 2, 3]).flatten(), own]))
    torch.testing.assert_close(torch.cat([part.distances for part in known]), together, atol=2e-3, rtol=0)
    assert known[1].chances.tolist() == [0.5]


def test_a_plain_background_does_not_swamp_the_rest():
    distances = torch.tensor([0.0, 0.0, 1.0, 2.0, 4.0])
    logs = standard_logs(distances)
    expected = torch.tensor([0.14, 0.14, 1.0, 2.0, 4.0]).log()
    torch.testing.assert_close(logs, (expected - expected.mean()) / expected.std())
    assert standard_logs(torch.zeros(3)).tolist() == [0, 0, 0]


def test_who_is_trusted():
    assert trusted_images(SETTINGS, torch.tensor([0.3, 0.1, 1.0, 0.25])).tolist() == [0, 2, 3]
    # Two at least, the best ones.
    assert trusted_images(SETTINGS, torch.tensor([0.01, 0.1, 1.0, 0.2])).tolist() == [2, 3]


def test_it_learns_the_distance_and_ranks_what_it_did_not_see(toy_params: Params):
    """A ring's patches: the farther a new patch lies from the ring, the higher its score."""
    train = view(toy_features(30, 0))
    rows, module = rows_of(train), head_of(train)
    known = known_distances(rows, torch.ones(30), torch.arange(30), None, module)
    far = rows.flatten(0, 1)[:500] + torch.linspace(0, 2, 500)[:, None]
    distances = torch.cdist(far, rows[10:].flatten(0, 1)).amin(1)
    known.append(KnownDistances(far, standard_logs(distances), torch.ones(500)))
    head = train_distances(module, known, 200, toy_params.methods.simplenet, 0, CPU)
    new = rows_of(view(toy_features(10, 0, seed=1))).flatten(0, 1)
    scores = [float(-head(new + shift).detach().mean()) for shift in (0.0, 0.5, 1.0, 1.5)]
    assert all(nearer < farther for nearer, farther in pairwise(scores))


def test_doubted_patches_teach_nothing(toy_params: Params):
    patches = torch.cat([torch.zeros(50, 8), torch.ones(50, 8)])
    chances = torch.cat([torch.ones(50), torch.full((50,), 1e-12)])
    known = [KnownDistances(patches, patches[:, 0], chances)]
    head = train_distances(SimpleNet(8, 5), known, 30, toy_params.methods.simplenet, 0, CPU)
    torch.testing.assert_close(head(patches[:1]), torch.zeros(1), atol=1e-3, rtol=0)


def detectors(four: FeatureView) -> list[SimpleNetDetector]:
    return [
        SimpleNetDetector(SimpleNet(four.width, 5, torch.Generator().manual_seed(seed)).eval())
        for seed in (1, 2)
    ]


def test_the_score_is_the_mean_of_both_in_usual_units(four: FeatureView):
    comet, distance = detectors(four)
    both = TwoDiscriminators(comet, distance, torch.tensor([[1.0, 10.0], [2.0, 4.0]]))
    rows = rows_of(four)
    a, b = comet.score(rows).patch, distance.score(rows).patch
    expected = ((a - 1) / 2 + (b - 10) / 4) / 2
    torch.testing.assert_close(both.score(rows).patch, expected)
    torch.testing.assert_close(both.score(rows).image, expected.amax(1))
    torch.testing.assert_close(both.normality(rows), -a)


def test_restored_from_its_tensors(four: FeatureView):
    both = TwoDiscriminators(*detectors(four), torch.tensor([[1.0, 10.0], [2.0, 4.0]]))
    rows = rows_of(four)
    restored = restore_comet_sn(both.state())
    torch.testing.assert_close(restored.score(rows).patch, both.score(rows).patch)
    assert isinstance(restore_comet_sn(both.comet.state()), SimpleNetDetector)


def fit(params: Params, features: FeatureView, *, enabled: bool):
    comet = params.methods.comet_sn
    distances = comet.distances.model_copy(update={"enabled": enabled})
    settings = params.settings("comet-sn").model_copy(
        update={"comet": comet.model_copy(update={"distances": distances})}
    )
    return fit_comet_sn(settings, features, 0, CPU)


def test_a_fit_leaves_comets_own_training_alone(toy_params: Params):
    train = view(toy_features(30, 0))
    alone, both = (fit(toy_params, train, enabled=enabled) for enabled in (False, True))
    assert isinstance(both.detector, TwoDiscriminators)
    mine, own = both.detector.state(), alone.detector.state()
    assert all(torch.equal(mine[name], tensor) for name, tensor in own.items())
    assert both.weights is not None
    assert alone.weights is not None
    torch.testing.assert_close(both.weights, alone.weights)
    # Patches of training images are usual.
    patch = both.detector.score(rows_of(train)).patch
    assert abs(float(patch.mean())) < 0.2


def test_two_images_are_enough_without_the_prior(toy_params: Params):
    comet = toy_params.methods.comet_sn
    off = comet.model_copy(update={"prior": comet.prior.model_copy(update={"enabled": False})})
    settings = toy_params.settings("comet-sn").model_copy(update={"comet": off})
    found = fit_comet_sn(settings, view(toy_features(2, 0)), 0, CPU)
    assert torch.isfinite(found.detector.score(rows_of(view(toy_features(2, 0)))).patch).all()
