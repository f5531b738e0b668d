"""CoZAD on an auxiliary set: tasks, scales, and test images scored among themselves."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from toys import CPU, toy_features

from adlib.config.methods import CozadZeroParams
from adlib.config.params import Params
from adlib.data.rows import FeatureView
from adlib.learning.methods.contract import AuxiliaryImages
from adlib.learning.methods.cozad.mutual import MutualDetector, mutual_scores, restore, with_test_images
from adlib.learning.methods.cozad.zero_shot import (
    OwnScaleRows,
    ZeroShotDetector,
    fit_cozad_zero,
    own_scale,
    robust_deviations,
)


def view(normals: int, seed: int = 0) -> FeatureView:
    features = toy_features(normals, 0, seed=seed)
    return features.select(features.info.ids)


def fitted(params: Params, **zero: object) -> ZeroShotDetector:
    chosen = params.methods.cozad_zero.model_copy(update=zero)
    cozad = params.methods.cozad.model_copy(update={"epochs": 2})
    methods = params.methods.model_copy(update={"cozad_zero": chosen, "cozad": cozad})
    settings = params.model_copy(update={"methods": methods}).settings("cozad-zero")
    images = {
        name: AuxiliaryImages(view(8, seed), np.zeros(8, dtype=bool), None)
        for seed, name in enumerate(("cloth", "stone", "wood"))
    }
    detector = fit_cozad_zero(settings, images, 0, CPU).detector
    assert isinstance(detector, ZeroShotDetector)
    return detector


def test_own_scale_forgets_every_images_shift_and_gain():
    patches = torch.randn((3, 50, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(own_scale(gain * patches + 7), own_scale(patches))
    torch.testing.assert_close(own_scale(patches).mean(1), torch.zeros(3, 4, dtype=torch.float64))
    assert (own_scale(torch.full((1, 5, 2), 3.0)) == 0).all()


def test_rows_on_their_own_scale_are_those_of_whole_images():
    images = view(6)
    own = FeatureView(images.ids, OwnScaleRows([images.rows]), images.index).subset(np.array([4, 1]))
    expected = own_scale(images.batch(np.array([4, 1]), CPU))
    torch.testing.assert_close(own.batch(np.arange(2), CPU), expected)
    patches = np.array([[3, 60, 0], [7, 7, 12]])
    torch.testing.assert_close(
        own.sampled_batch(np.arange(2), patches, CPU),
        expected[torch.arange(2)[:, None], torch.from_numpy(patches)],
    )


def test_robust_deviations_by_hand():
    scores = torch.tensor([[1.0, 2.0, 3.0, 4.0, 9.0], [5.0, 5.0, 5.0, 5.0, 6.0]])
    # Median 3 and deviation 1; the second image's deviation is 0.
    expected = torch.tensor([[-2.0, -1.0, 0.0, 1.0, 6.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    torch.testing.assert_close(robust_deviations(scores), expected)


def test_every_choice_changes_the_scores(toy_params: Params):
    test = view(4, seed=9).batch(np.arange(4), CPU)
    plain = fitted(toy_params)
    for choice in ({"tasks_by": "category"}, {"standardise": "image"}, {"calibrate": "image"}):
        changed = fitted(toy_params, **choice)
        assert not torch.allclose(changed.score(test).image, plain.score(test).image)
        again = restore(changed.state())
        torch.testing.assert_close(again.score(test).patch, changed.score(test).patch)


def test_an_image_on_its_own_scale_is_scored_alike_in_other_light(toy_params: Params):
    detector = fitted(toy_params, standardise="image")
    test = view(2, seed=9).batch(np.arange(2), CPU)
    torch.testing.assert_close(detector.score(3 * test + 2).patch, detector.score(test).patch)


def test_mutual_scores_by_hand():
    patches = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    bank = torch.tensor([[[0.0, 1.0], [9.0, 9.0]], [[3.0, 0.0], [0.0, 2.0]], [[6.0, 8.0], [6.0, 8.0]]])
    # Nearest patches of the three images: 1, 2, 10 for the first, sqrt(18), sqrt(13), 5 for the second.
    expected = torch.tensor([(1 + 2) / 2, (13**0.5 + 18**0.5) / 2])
    torch.testing.assert_close(mutual_scores(patches, bank, 0.6), expected)
    torch.testing.assert_close(mutual_scores(patches, bank, 0.1), torch.tensor([1.0, 13**0.5]))
    with pytest.raises(ValueError, match="bank: at least one other image is needed"):
        mutual_scores(patches, bank[:0], 0.5)


def test_bank_is_searched_in_parts_alike(monkeypatch: pytest.MonkeyPatch):
    draw = torch.Generator().manual_seed(0)
    patches, bank = torch.randn((7, 3), generator=draw), torch.randn((9, 4, 3), generator=draw)
    whole = mutual_scores(patches, bank, 0.5)
    monkeypatch.setattr("adlib.learning.methods.cozad.mutual.CELLS", 60)
    torch.testing.assert_close(mutual_scores(patches, bank, 0.5), whole)


def transductive(params: Params, **changes: float) -> CozadZeroParams:
    """The block of the method with another bank or share."""
    block = params.methods.cozad_zero
    return block.model_copy(update={"transductive": block.transductive.model_copy(update=changes)})


def test_no_image_is_a_witness_for_itself(toy_params: Params):
    params = transductive(toy_params, bank=64, share=0.1)
    base, images = fitted(toy_params), view(6, seed=9)
    detector = with_test_images(base, images, params, 0, CPU)
    scores = detector.score(images.batch(np.arange(6), CPU))
    assert (scores.patch > 0).all()  # all patches are in the bank: the image itself would give 0
    others = with_test_images(base, images.subset(np.arange(1, 6)), params, 0, CPU)
    torch.testing.assert_close(others.score(images.batch([0], CPU)).patch[0], scores.patch[0])
    again = restore(detector.state())
    assert isinstance(again, MutualDetector)
    assert (again.score(images.batch([2], CPU)).patch[0] == scores.patch[2]).all()


def test_what_few_others_have_scores_high(toy_params: Params):
    features = toy_features(12, 3, seed=9)
    images = features.select(features.info.ids)
    params = transductive(toy_params)
    detector = with_test_images(fitted(toy_params), images, params, 0, CPU)
    scores = detector.score(images.batch(np.arange(15), CPU)).image
    assert scores[12:].min() > scores[:12].max()


def test_bank_is_a_random_part_of_each_image(toy_params: Params):
    params = transductive(toy_params, bank=5)
    base, images = fitted(toy_params), view(3)
    banks = [with_test_images(base, images, params, seed, CPU).bank for seed in (0, 0, 1)]
    assert banks[0].shape == (3, 5, 8)
    assert torch.equal(banks[0], banks[1])
    assert not torch.equal(*next(pairwise(banks[1:])))
