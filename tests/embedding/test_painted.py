"""Features of painted copies: rows of their own in the store, NaN where nothing is painted."""

from pathlib import Path

import numpy as np
import pytest
from sample_outputs import SMALL
from toys import CPU

from adlib.config.params import Params
from adlib.data.rows import open_features
from adlib.datasets.fetch import fetch
from adlib.embedding.painted import build_painted, mostly
from adlib.embedding.patches import build_features
from adlib.tools.ablation import override


@pytest.fixture
def small(params: Params) -> Params:
    return override(params, SMALL)


def test_a_copy_differs_where_it_is_painted(small: Params, tmp_path: Path, store: Path):
    samples = fetch(small.dataset, "weave").samples[:6]
    root, frame = Path(small.dataset.root), {"image_size": 64, "keep_aspect": False, "device": CPU}
    build_features(tmp_path / "plain", samples, root, small.backbone, **frame)
    assert build_painted(tmp_path / "one", samples, root, small.backbone, 1, **frame) == 6
    assert build_painted(tmp_path / "again", samples[:4], root, small.backbone, 1, **frame) == 0
    assert build_painted(tmp_path / "many", samples, root, small.backbone, 9, **frame) == 6
    ids = [sample.id for sample in samples]
    plain, one, many = (
        open_features(tmp_path / name).select(ids).batch(np.arange(6), CPU).numpy()
        for name in ("plain", "one", "many")
    )
    assert np.isnan(one).any(2).sum() > np.isnan(many).any(2).sum() > 0
    assert (np.isnan(one).any(2) == np.isnan(one).all(2)).all()
    painted_on = ~np.isnan(many).any(2)
    assert painted_on.any()
    assert (np.linalg.norm(many - plain, axis=2)[painted_on] > 0.1).mean() > 0.9
    assert open_features(tmp_path / "one").info.key != open_features(tmp_path / "plain").info.key


def test_a_cell_counts_from_a_half():
    mask = np.zeros((4, 6), bool)
    mask[0, 0], mask[2:, 2:4], mask[:2, 4:], mask[0, 4] = True, True, True, False
    assert mostly(mask, (2, 3)).tolist() == [[False, False, True], [False, True, False]]
