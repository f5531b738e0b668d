"""CoZAD trained once on an auxiliary set's normal images and applied to a target unchanged."""

from pathlib import Path

import numpy as np
import pytest
from auxiliary_set import CATEGORIES, TARGET, apply_to_target, configure, learn, write_sets

from adlib.config.params import Params
from adlib.evaluation.metrics import auroc
from adlib.fits.files import load_scores
from adlib.fits.folder import load_detector


def test_the_transductive_variant_has_a_name_of_its_own(toy_params: Params, tmp_path: Path, store: Path):
    outputs = write_sets(tmp_path)
    fits = outputs / "fits"
    cozad = toy_params.methods.cozad.model_copy(update={"epochs": 1})
    zero = toy_params.methods.cozad_zero
    zero = zero.model_copy(update={"transductive": zero.transductive.model_copy(update={"enabled": True})})
    params = configure(toy_params, tmp_path / "data", auxiliary=("cozad-zero",), cozad=cozad, cozad_zero=zero)
    assert params.methods.names == ("cozad-zero", "cozad-zero/transductive")
    learn(params, outputs, "cozad-zero")
    apply_to_target(params, outputs, "cozad-zero")
    plain, mutual = load_scores(fits / "noise-0_seed-0"), load_scores(fits / "transductive/noise-0_seed-0")
    assert plain.test == mutual.test
    assert not np.allclose(plain.image, mutual.image)
    assert "bank" in load_detector(fits / "transductive/noise-0_seed-0").state()
    assert "bank" not in load_detector(fits / "noise-0_seed-0").state()


def test_trained_once_and_applied_to_the_target(
    toy_params: Params, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
):
    outputs = write_sets(tmp_path)
    fits = outputs / "fits"
    prior = toy_params.methods.cozad.prior.model_copy(update={"enabled": False})
    cozad = toy_params.methods.cozad.model_copy(update={"prior": prior})
    params = configure(toy_params, tmp_path / "data", auxiliary=("cozad-zero",), cozad=cozad)
    learn(params, outputs, "cozad-zero")
    apply_to_target(params, outputs, "cozad-zero")
    assert f"{TARGET} cozad-zero: " in capsys.readouterr().err
    clean, dirty = load_scores(fits / "noise-0_seed-0"), load_scores(fits / "noise-0.1_seed-0")
    anomalous = np.array([id[0] == "a" for id in clean.test])
    assert auroc(clean.image, anomalous) > 0.95
    assert (clean.image == dirty.image).all()  # nothing of the target was learned from
    statistics = load_detector(fits / "noise-0_seed-0").state()["mean"]
    files = [outputs / "auxiliary" / "features" / category / "features.npy" for category in CATEGORIES]
    normals = np.concatenate([np.load(file)[:12].reshape(-1, 8) for file in files])
    np.testing.assert_allclose(statistics, normals.astype(np.float64).mean(0), atol=1e-3)
