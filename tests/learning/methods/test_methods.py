"""Every method on toy features: it learns, is reproducible, and survives a round trip through its state."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import CPU, toy_features

from adlib.base.errors import UserError
from adlib.base.files import read_json, write_json
from adlib.config.methods import MethodsParams
from adlib.config.params import Params
from adlib.data.rows import INFO, ROWS, Features
from adlib.data.splits import Splits, TrainingSet, write_splits
from adlib.evaluation.metrics import auroc
from adlib.fits.files import FitScores, load_scores
from adlib.fits.folder import load_detector
from adlib.fits.threshold import conformal_threshold
from adlib.fits.train import train
from adlib.learning.heads.memory import MemoryBank
from adlib.learning.methods.contract import Fit, score_images
from adlib.learning.methods.patchcore import PatchCore, greedy_coreset, presample
from adlib.learning.methods.registry import AUXILIARY_METHODS, METHODS

NORMAL = [f"n{i:03}" for i in range(40)]
TEST = [f"n{i:03}" for i in range(40, 70)] + [f"a{i:03}" for i in range(10, 40)]
LABELS = np.array([id[0] == "a" for id in TEST])


@pytest.fixture(scope="module")
def features() -> Features:
    return toy_features(70, 40)


def fit(name: str, params: Params, features: Features, ids: list[str] = NORMAL, seed: int = 0) -> Fit:
    return METHODS[name].fit(params.settings(name), features.select(ids), seed, CPU)


Fitted = Callable[..., Fit]


@pytest.fixture(scope="module")
def fitted(toy_params: Params, features: Features) -> Fitted:
    """The fit of a method and seed, made once for all tests that only look at it."""

    @cache
    def make(name: str, seed: int = 0) -> Fit:
        torch.manual_seed(99)
        return fit(name, toy_params, features, seed=seed)

    return make


def image_scores(found: Fit, features: Features) -> torch.Tensor:
    return score_images(found.detector, features.select(TEST), CPU)["image"]


@pytest.mark.parametrize("name", METHODS)
def test_finds_anomalies(name: str, fitted: Fitted, features: Features):
    scores = score_images(fitted(name).detector, features.select(TEST), CPU)
    assert auroc(scores["image"], LABELS) > 0.95
    assert scores["patch"].shape == (60, 64)


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_decides_the_scores(name: str, toy_params: Params, fitted: Fitted, features: Features):
    """The same seed gives the same bits wherever the global generators are; that of NumPy stays there."""
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 (it is the global state that is watched)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    again = image_scores(fit(name, toy_params, features), features)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert torch.equal(again, image_scores(fitted(name), features))
    assert not torch.equal(again, image_scores(fitted(name, seed=1), features))


@pytest.mark.parametrize("name", METHODS)
def test_state_round_trip(name: str, fitted: Fitted, features: Features):
    detector = fitted(name).detector
    state = {key: tensor.clone() for key, tensor in detector.state().items()}
    batch = features.select(TEST).batch(np.arange(5), CPU)
    for ours, restored in zip(
        detector.score(batch), METHODS[name].from_state(state).score(batch), strict=True
    ):
        torch.testing.assert_close(ours, restored)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_is_its_images_one_by_one(name: str, fitted: Fitted, features: Features):
    detector = fitted(name).detector
    batch = features.select(TEST).batch(np.arange(4), CPU)
    whole = detector.score(batch)
    for i in range(4):
        alone = detector.score(batch[i : i + 1])
        torch.testing.assert_close(alone.image, whole.image[i : i + 1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.patch, whole.patch[i : i + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_fewer_images_than_a_batch_still_train(name: str, toy_params: Params, features: Features):
    few = fit(name, toy_params, features, ids=NORMAL[:5])
    assert torch.isfinite(image_scores(few, features)).all()


@pytest.mark.parametrize("name", ["simplenet", "comet-sn", "cozad", "comet-nf"])
def test_one_image_is_too_few(name: str, toy_params: Params, features: Features):
    with pytest.raises(UserError, match="at least"):
        fit(name, toy_params, features, ids=NORMAL[:1])


@pytest.mark.parametrize("name", ["simplenet", "comet-sn", "cozad", "differnet", "comet-nf"])
def test_log_has_every_epoch(name: str, toy_params: Params, fitted: Fitted):
    log = fitted(name).log
    epochs = toy_params.methods.block(name).model_dump()["epochs"]
    assert [entry["epoch"] for entry in log] == list(range(epochs))
    assert log[-1]["loss"] < log[0]["loss"]


def test_every_configured_method_exists_and_is_fitted_by_the_stages_of_its_group():
    group = {name: block.group for name, block in MethodsParams.blocks().items()}
    assert group.keys() == METHODS.keys() | AUXILIARY_METHODS.keys()
    assert {name for name in group if group[name] in ("auxiliary", "clip")} == set(AUXILIARY_METHODS)
    assert {name for name in group if group[name] == "flow"} == {
        name for name in METHODS if METHODS[name].rows == "views"
    }
    assert {name for name in group if group[name] == "clip"} == {
        name for name in AUXILIARY_METHODS if AUXILIARY_METHODS[name].rows == "tokens"
    }


def test_statistics_come_from_training_features(fitted: Fitted, features: Features):
    detector = fitted("simplenet").detector
    rows = features.select(NORMAL).batch(np.arange(40), CPU).double().flatten(0, 1)
    state = detector.state()
    torch.testing.assert_close(state["mean"].double(), rows.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(state["std"].double(), rows.std(0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["simplenet", "comet-sn"])
def test_features_can_be_taken_as_they_come(name: str, toy_params: Params, features: Features):
    """As in the papers, whose noise level is on the scale of WRN-50's features."""
    raw = toy_params.methods.simplenet.model_copy(update={"standardise": False})
    methods = toy_params.methods.model_copy(update={"simplenet": raw})
    state = fit(name, toy_params.model_copy(update={"methods": methods}), features).detector.state()
    assert torch.equal(state["mean"], torch.zeros(8))
    assert torch.equal(state["std"], torch.ones(8))


@pytest.mark.parametrize("name", ["comet-sn", "cozad", "comet-nf"])
def test_comet_doubts_the_contaminating_images(name: str, toy_params: Params, features: Features):
    dirty = NORMAL + [f"a{i:03}" for i in range(5)]
    weights = fit(name, toy_params, features, ids=dirty).weights
    assert weights is not None
    assert weights[:40].mean() > weights[40:].mean()
    assert ((weights > 0) & (weights <= 1)).all()


def test_greedy_coreset_takes_the_farthest_point_each_time():
    points = torch.tensor([[0.0], [1.0], [10.0], [4.0]])
    # The mean is 3.75: start at 4, then 10 (distance 6), then 0 (distance 4), then 1.
    assert greedy_coreset(points, 4).tolist() == [3, 2, 0, 1]
    assert greedy_coreset(points, 9).tolist() == [3, 2, 0, 1]


def test_presample_takes_the_same_number_from_every_image(features: Features):
    assert presample(features.select(NORMAL), 400, 0, CPU).shape == (400, 8)
    assert presample(features.select(NORMAL), 10**6, 0, CPU).shape == (40 * 64, 8)


def write_features(folder: Path, features: Features) -> Path:
    folder.mkdir()
    np.save(folder / ROWS, features.select(features.info.ids).rows)
    write_json(folder / INFO, {
        "ids": features.info.ids, "grid": [8, 8], "image_size": 32, "weights_sha256": "0" * 64, "key": "toy",
    })  # fmt: skip
    return folder


def test_stage_writes_every_fit_and_finds_it_again(
    toy_params: Params, features: Features, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
):
    folder = write_features(tmp_path / "features", features)

    def run(*sets: TrainingSet) -> str:
        write_splits(tmp_path / "splits.json", Splits(tuple(TEST), False, sets))
        train(
            toy_params,
            "ring",
            "patchcore",
            folder,
            tmp_path / "splits.json",
            tmp_path / "fits",
            tmp_path / "t.json",
        )
        return capsys.readouterr().err

    clean = TrainingSet(0.0, 0, tuple(NORMAL))
    dirty = TrainingSet(0.1, 0, (*NORMAL, "a000", "a001", "a002", "a003"))
    assert "from the store" not in run(clean)
    both = run(clean, dirty)
    assert both.count("from the store") == 1
    scores = load_scores(tmp_path / "fits" / dirty.name)
    assert scores.calibration == ()
    assert scores.threshold is None
    assert scores.test == tuple(TEST)
    assert scores.image.shape == (60,)
    assert set(read_json(tmp_path / "t.json")) == {clean.name, dirty.name}
    batch = features.select(TEST).batch(np.arange(60), CPU)
    restored = load_detector(tmp_path / "fits" / dirty.name).score(batch)
    np.testing.assert_allclose(restored.image.numpy(), scores.image, rtol=1e-4)


def test_a_threshold_from_calibration_images(
    toy_params: Params, features: Features, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
):
    """Taken from the fit's own scores of them; another rate or trim refits nothing."""
    folder = write_features(tmp_path / "features", features)
    training_set = TrainingSet(0.0, 0, tuple(NORMAL[:20]), tuple(NORMAL[20:]))
    write_splits(tmp_path / "splits.json", Splits(tuple(TEST), False, (training_set,)))

    def run(fpr: float, trim: float) -> FitScores:
        wanted = toy_params.threshold.model_copy(update={"fpr": fpr, "trim": trim})
        params = toy_params.model_copy(update={"threshold": wanted})
        paths = (tmp_path / "splits.json", tmp_path / "fits", tmp_path / "t.json")
        train(params, "ring", "patchcore", folder, *paths)
        return load_scores(tmp_path / "fits" / training_set.name)

    first, second = run(0.1, 0.0), run(0.2, 0.1)
    assert capsys.readouterr().err.count("from the store") == 1
    assert first.calibration == second.calibration == training_set.calibration
    detector = load_detector(tmp_path / "fits" / training_set.name)
    expected = detector.score(features.select(NORMAL[20:]).batch(np.arange(20), CPU)).image.numpy()
    assert first.calibration_score is not None
    np.testing.assert_allclose(first.calibration_score, expected, rtol=1e-4)
    assert first.threshold == conformal_threshold(first.calibration_score, 0.1)
    assert second.threshold == conformal_threshold(first.calibration_score, 0.2, 0.1)


def test_reweighting_prefers_a_patch_with_a_lonely_neighbour():
    """Roth et al. eq. 7: at one distance, the patch whose neighbour lies far from the rest scores higher."""
    bank = MemoryBank()
    bank.add(torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [10.0, 0.0]]))
    crowded, lonely = torch.tensor([[[-1.0, 0.0]]]), torch.tensor([[[11.0, 0.0]]])
    weighted = PatchCore(bank, 3, torch.zeros(2), torch.ones(2))
    assert weighted.score(lonely).image > weighted.score(crowded).image
    plain = PatchCore(bank, 1, torch.zeros(2), torch.ones(2))
    torch.testing.assert_close(plain.score(lonely).image, plain.score(crowded).image)
