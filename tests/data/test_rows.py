"""Reading features: rows in the order asked for, as float32, and an error for images without a row."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toys import CPU, toy_features

from adlib.base.errors import UserError
from adlib.base.files import write_json
from adlib.data.rows import INFO, ROWS, Features, open_features


@pytest.fixture
def features() -> Features:
    return toy_features(5, 2, patches=4, width=3)


def test_a_view_is_in_the_order_asked_for(features: Features):
    everything = features.select(features.info.ids).batch(np.arange(7), CPU)
    view = features.select(["a001", "n003", "n000"])
    assert (len(view), view.patches, view.width) == (3, 4, 3)
    assert features.shape == (7, 4, 3)
    assert torch.equal(view.batch([0, 1, 2], CPU), everything[[6, 3, 0]])
    assert torch.equal(view.batch(np.array([2, 0]), CPU), everything[[0, 6]])
    assert view.batch([0], CPU).dtype == torch.float32


def test_an_image_without_a_row(features: Features):
    with pytest.raises(UserError, match="2 images have no features, the first is x; rerun `features`"):
        features.select(["n000", "x", "y"])


def test_chosen_patches(features: Features):
    view = features.select(["n004", "a000", "n001"])
    positions, patches = np.array([2, 0]), np.array([[3, 0], [1, 1]])
    whole = view.batch(positions, CPU)
    expected = torch.stack([whole[0, [3, 0]], whole[1, [1, 1]]])
    assert torch.equal(view.sampled_batch(positions, patches, CPU), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_batches_go_through_all_images_once(features: Features, size: int):
    view = features.select(list(reversed(features.info.ids)))
    batches = list(view.batches(size, CPU))
    assert [len(batch) for batch in batches] == [min(size, 7 - start) for start in range(0, 7, size)]
    assert torch.equal(torch.cat(batches), view.batch(np.arange(7), CPU))


def test_open(tmp_path: Path, features: Features):
    view = features.select(features.info.ids)
    np.save(tmp_path / ROWS, view.rows)
    info = {"ids": features.info.ids, "grid": [2, 2], "image_size": 32, "weights_sha256": "w", "key": "k"}
    write_json(tmp_path / INFO, info)
    opened = open_features(tmp_path)
    assert (opened.info.ids, opened.info.grid) == (features.info.ids, (2, 2))
    assert (opened.info.image_size, opened.info.weights_sha256, opened.info.key) == (32, "w", "k")
    assert torch.equal(opened.select(["a001"]).batch([0], CPU), view.batch([6], CPU))
    assert isinstance(opened.select(["a001"]).rows, np.memmap)
