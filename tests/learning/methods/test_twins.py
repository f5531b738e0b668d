"""Painted twins: which patches count, how their loss is shared, and that a fit learns from them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import CPU, toy_features

from adlib.config.methods import PaintedParams
from adlib.config.params import Params
from adlib.data.rows import Features, FeatureView
from adlib.learning.heads.simplenet import SimpleNet, hinge, patch_losses
from adlib.learning.methods.comet.simplenet import SimpleNetLearner
from adlib.learning.methods.comet.sn import fit_comet_sn
from adlib.learning.methods.comet.twins import PaintedCopies, PaintedTwins
from adlib.learning.methods.simplenet.sampling import PatchSampler

SETTINGS = PaintedParams(share=0.5, distance=1.0, defects=6)


def moved(features: Features, shift: dict[tuple[int, int], float]) -> FeatureView:
    """A copy of all images whose patches are moved along every channel."""
    ids = features.info.ids
    rows = features.select(ids).batch(np.arange(len(ids)), CPU).numpy().copy()
    for (image, patch), by in shift.items():
        rows[image, patch] += by
    return Features(features.info, rows.astype(np.float16)).select(ids)


@pytest.fixture
def features() -> Features:
    return toy_features(4, 0)


def view(features: Features) -> FeatureView:
    return features.select(features.info.ids)


def twins(features: Features, copies: FeatureView, std: float, *trust: float) -> PaintedTwins:
    return PaintedTwins(
        PaintedCopies(SETTINGS, copies), view(features), torch.full((8,), std), torch.tensor(trust), 0
    )


def test_only_patches_that_moved_far_enough_are_drawn(features: Features):
    """In units of the channels' deviation: 0.4 / 0.5 is below the distance of 1, the other two are above."""
    copies = moved(features, {(0, 7): 2.0, (0, 9): 0.4, (1, 3): 0.75})
    found = twins(features, copies, 0.5, 1.0, 1.0, 1.0, 1.0)
    torch.testing.assert_close(
        found.patches, torch.stack([copies.batch([i], CPU)[0, p] for i, p in ((0, 7), (1, 3))])
    )
    drawn = found.draw(3, 50)
    assert drawn is not None
    assert drawn.shape == (3, 50, 8)
    assert torch.cdist(drawn.flatten(0, 1), found.patches).amin(1).max() < 1e-3


def test_a_doubted_image_has_fewer_twins(features: Features):
    copies = moved(features, {(0, 2): 1.5, (0, 5): 1.5, (3, 5): 1.5})
    found = twins(features, copies, 1.0, 1.0, 1.0, 1.0, 0.5)
    drawn = found.draw(1, 5000)
    assert drawn is not None
    counts = torch.cdist(drawn[0], found.patches).argmin(1).bincount()
    assert (counts - torch.tensor([2000, 2000, 1000])).abs().max() < 150


def test_without_a_far_patch_there_are_no_twins(features: Features):
    assert twins(features, moved(features, {(0, 2): 0.5}), 1.0, 1.0, 1.0, 1.0, 1.0).draw(2, 3) is None


def test_the_share_of_the_loss_by_hand():
    normality = torch.randn((3, 2, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    normal, noisy, painted = normality
    expected = hinge(normal, 0.5) + 0.75 * hinge(-noisy, 0.5) + 0.25 * hinge(-painted, 0.5)
    torch.testing.assert_close(patch_losses(normality, 0.5, 0.25), expected)
    torch.testing.assert_close(patch_losses(normality[:2], 0.5, 0.25), patch_losses(normality, 0.5))


def test_painted_patches_pass_the_discriminator_with_the_others():
    head = SimpleNet(6, 5, torch.Generator().manual_seed(0)).double().train()
    o, noise, other = torch.randn((3, 2, 4, 6), dtype=torch.float64)
    torch.testing.assert_close(head(o, noise, other)[:2], head(o, noise, other.flip(1))[:2])
    q = head.adapt(torch.stack([o, o + noise, other]))
    torch.testing.assert_close(head(o, noise, other), head.discriminate(q))


def test_the_learner_adds_twins_to_its_batches(params: Params, features: Features):
    settings = params.methods.simplenet.model_copy(update={"patches_per_image": 16})
    head = SimpleNet(8, 5, torch.Generator().manual_seed(0))
    sampler = PatchSampler(settings, view(features), 0, CPU)
    learner = SimpleNetLearner(head, settings, view(features), sampler, torch.ones((4, 64)))
    copies = moved(features, {(0, patch): 9.0 for patch in range(64)})
    with_twins = replace(learner, twins=twins(features, copies, 1.0, 1.0, 1.0, 1.0, 1.0))
    batch = with_twins.draw(torch.tensor([0, 1]))
    assert batch.painted is not None
    assert batch.painted.shape == batch.patches.shape
    theta = dict(head.named_parameters())
    painted, plain = (
        with_twins.losses(theta, b, update_statistics=False) for b in (batch, batch._replace(painted=None))
    )
    assert not torch.isclose(painted, plain).any()


def test_a_fit_learns_what_paint_looks_like(toy_params: Params):
    """Anomalies half a deviation off on one channel: noise twins hardly teach that, painted ones do."""
    train = toy_features(30, 0)
    test = view(toy_features(40, 0, seed=1)).batch(np.arange(40), CPU)
    shift = torch.zeros(8)
    shift[5] = 0.5  # the ring's other channels vary by 0.1
    rows = np.array(view(train).rows)
    rows[:, :8] += shift.numpy().astype(np.float16)
    painted = Features(train.info, rows).select(train.info.ids)
    settings = toy_params.settings("comet-sn")

    def gap(copies: FeatureView | None) -> float:
        detector = fit_comet_sn(settings, view(train), 0, CPU, copies).detector
        normal, shifted = detector.score(test).patch, detector.score(test + shift).patch
        return float((shifted.mean() - normal.mean()) / normal.std())

    assert gap(painted) > gap(None) + 0.5
