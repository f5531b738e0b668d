"""Views of several feature files as one."""

import numpy as np
import pytest
import torch
from toys import CPU, toy_features

from adlib.data.rows import join_views

FILES = [toy_features(4, 2, seed=0), toy_features(3, 1, seed=1), toy_features(2, 2, seed=2)]
VIEWS = [FILES[0].select(["n003", "a001"]), FILES[1].select(["n000"]), FILES[2].select(["a001", "n001"])]


def test_joined_rows_are_the_parts_rows():
    joined = join_views(VIEWS)
    expected = torch.cat([batch for view in VIEWS for batch in view.batches(8, CPU)])
    assert joined.ids == ("n003", "a001", "n000", "a001", "n001")
    assert (len(joined), joined.patches, joined.width) == (5, 64, 8)
    assert torch.equal(torch.cat(list(joined.batches(2, CPU))), expected)
    assert torch.equal(joined.batch(np.array([4, 0]), CPU), expected[[4, 0]])
    chosen = np.array([[5, 1, 2], [0, 63, 7]])
    found = joined.sampled_batch(np.array([3, 2]), chosen, CPU)
    assert torch.equal(found, torch.stack([expected[3][chosen[0]], expected[2][chosen[1]]]))


def test_joined_views_can_be_joined_and_narrowed():
    nested = join_views([join_views(VIEWS[:2]), VIEWS[2]])
    flat = join_views(VIEWS)
    assert nested.ids == flat.ids
    assert torch.equal(nested.batch(np.arange(5), CPU), flat.batch(np.arange(5), CPU))
    narrow = flat.subset(np.array([4, 1]))
    assert narrow.ids == ("n001", "a001")
    assert torch.equal(narrow.batch(np.arange(2), CPU), flat.batch(np.array([4, 1]), CPU))


def test_files_of_different_backbones_do_not_join():
    other = toy_features(2, 1, width=4).select(["n000"])
    with pytest.raises(ValueError, match=r"views: all must have one \(N, D\), got \[\(64, 4\), \(64, 8\)\]"):
        join_views([VIEWS[0], other])
