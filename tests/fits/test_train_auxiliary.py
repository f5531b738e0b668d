"""Training on an auxiliary set and applying the result to a target, through the functions of both stages."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from auxiliary_set import (
    ANOMALIES,
    CATEGORIES,
    NORMALS,
    TARGET,
    apply_to_target,
    configure,
    learn,
    write_sets,
)

from adlib.base.errors import UserError
from adlib.base.files import read_json
from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.data.leaks import LeakError
from adlib.data.manifest import DataError, Sample, read_manifest
from adlib.data.splits import TrainingSet
from adlib.evaluation.metrics import auroc
from adlib.fits.apply_auxiliary import draw_shots
from adlib.fits.files import load_scores
from adlib.fits.folder import load_detector
from adlib.learning.methods import registry


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return write_sets(tmp_path)


@pytest.fixture
def auxiliary_params(toy_params: Params, tmp_path: Path) -> Params:
    tokens = toy_params.methods.af_tokens.model_copy(update={"shots": (0, 2)})
    return configure(toy_params, tmp_path / "data", af_tokens=tokens)


def test_a_method_is_given_every_category_with_labels_and_patch_masks(
    auxiliary_params: Params, outputs: Path, store: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = {}
    entry = registry.AUXILIARY_METHODS["af-tokens"]

    def watch(settings, images, seed, device):
        seen.update(images)
        return entry.fit(settings, images, seed, device)

    watch.__module__ = "adlib.learning.methods.afclip.tokens"
    watched = replace(entry, fit=watch)
    monkeypatch.setitem(registry.AUXILIARY_METHODS, "af-tokens", watched)
    learn(auxiliary_params, outputs, "af-tokens")
    assert tuple(seen) == CATEGORIES
    for category, images in seen.items():
        manifest = read_manifest(outputs / "auxiliary" / "fetch" / category / "manifest.csv")
        assert images.features.ids == tuple(sample.id for sample in manifest)
        assert images.anomalous.sum() == ANOMALIES
        assert len(images.normals) == NORMALS
        assert set(images.normals.ids) == {
            id for id, bad in zip(images.features.ids, images.anomalous, strict=True) if not bad
        }
        # The masks' first 4 rows of 32 pixels are the first of 8 rows of patches.
        expected = np.zeros((8, 8), dtype=bool)
        expected[0] = True
        for mask, bad in zip(images.masks, images.anomalous, strict=True):
            assert (mask.reshape(8, 8) == (expected if bad else False)).all()


def test_a_fit_is_trained_once_and_then_taken_from_the_store(
    auxiliary_params: Params, outputs: Path, store: Path, capsys: pytest.CaptureFixture[str]
):
    learn(auxiliary_params, outputs, "af-tokens")
    assert "fitted in" in capsys.readouterr().err
    more = auxiliary_params.methods.af_tokens.model_copy(update={"shots": (1,)})
    learn(configure(auxiliary_params, outputs.parent / "data", af_tokens=more), outputs, "af-tokens")
    assert "fitted from the store" in capsys.readouterr().err  # shots belong to the target
    other = auxiliary_params.methods.af_tokens.model_copy(update={"gamma": 2.0})
    learn(configure(auxiliary_params, outputs.parent / "data", af_tokens=other), outputs, "af-tokens")
    assert "fitted in" in capsys.readouterr().err


def test_an_edited_mask_or_label_is_another_fit(auxiliary_params: Params, outputs: Path, store: Path):
    from adlib.fits.train_auxiliary import AuxiliaryJob, open_sources

    def key() -> str:
        cpu = torch.device("cpu")
        sources = open_sources(auxiliary_params, "af-tokens", Workspace(outputs).auxiliary, cpu)
        return AuxiliaryJob("af-tokens", auxiliary_params, sources, 0, cpu).key

    path = outputs / "auxiliary" / "fetch" / CATEGORIES[0] / "labels.csv"
    before, text = key(), path.read_text()
    row = next(line for line in text.splitlines() if ",cut," in line)
    path.write_text(text.replace(row, row[:-4] + "0000"))
    assert key() != before
    path.write_text(text)
    assert key() == before


def test_scores_stand_where_a_trained_method_would_put_them(
    auxiliary_params: Params, outputs: Path, store: Path
):
    learn(auxiliary_params, outputs, "af-tokens")
    fits = apply_to_target(auxiliary_params, outputs, "af-tokens")
    names = {path.parent.relative_to(fits).as_posix() for path in fits.rglob("fit.json")}
    sets = ("noise-0_seed-0", "noise-0.1_seed-0")
    assert names == {*sets, *(f"shots-2/{name}" for name in sets)}
    assert set(read_json(outputs / "timing.json")) == names
    zero, few = load_scores(fits / sets[0]), load_scores(fits / "shots-2" / sets[0])
    anomalous = np.array([id[0] == "a" for id in zero.test])
    assert auroc(zero.image, anomalous) == 1
    assert auroc(few.image, anomalous) == 1
    assert zero.train == ()
    assert len(few.train) == 2
    # Zero-shot scores know nothing of the training set; those with shots do.
    assert (load_scores(fits / sets[1]).image == zero.image).all()
    restored = load_detector(fits / "shots-2" / sets[0])
    assert set(load_detector(fits / sets[0]).state()) < set(restored.state())


def test_saved_models_score_as_they_did(auxiliary_params: Params, outputs: Path, store: Path):
    from adlib.data.rows import open_features

    learn(auxiliary_params, outputs, "af-tokens")
    fits = apply_to_target(auxiliary_params, outputs, "af-tokens")
    for name in ("noise-0_seed-0", "shots-2/noise-0_seed-0"):
        scores = load_scores(fits / name)
        view = open_features(outputs / "features" / TARGET).select(scores.test)
        found = load_detector(fits / name).score(view.batch(np.arange(len(view)), torch.device("cpu")))
        np.testing.assert_allclose(found.image, scores.image, atol=1e-6)
        np.testing.assert_allclose(found.patch, scores.patch, atol=1e-6)


def test_a_shared_image_is_an_error(auxiliary_params: Params, outputs: Path, store: Path):
    learn(auxiliary_params, outputs, "af-tokens")
    known = read_manifest(outputs / "auxiliary" / "fetch" / CATEGORIES[1] / "manifest.csv")[0]
    path = outputs / "fetch" / TARGET / "manifest.csv"
    path.write_text(path.read_text() + f"{known.id},train/copy.png,train\n")
    with pytest.raises(
        LeakError,
        match=r"1 images are in both the auxiliary set and the target .* train/copy.png; name another",
    ):
        apply_to_target(auxiliary_params, outputs, "af-tokens")


def test_shots_are_nested_follow_paths_and_depend_on_the_seed():
    samples = {f"id{i}": Sample(f"id{i}", f"good/{i:03}.png", "train") for i in range(30)}

    def drawn(shots: int, seed: int = 0) -> tuple[str, ...]:
        return draw_shots(TrainingSet(0.0, seed, tuple(samples)), samples, shots)

    assert drawn(0) == ()
    assert drawn(1) == drawn(4)[:1]
    assert drawn(2) == drawn(4)[:2]
    assert len({drawn(4, seed) for seed in range(5)}) == 5
    backwards = TrainingSet(0.0, 0, tuple(reversed(samples)))
    assert draw_shots(backwards, samples, 4) == drawn(4)
    with pytest.raises(DataError, match="shots: the training set noise-0_seed-0 holds 30 images, got 31"):
        drawn(31)


def test_af_tokens_needs_masks(auxiliary_params: Params, outputs: Path, store: Path):
    path = outputs / "auxiliary" / "fetch" / "stone" / "labels.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], *(",".join([*r.split(",")[:2], "", ""]) for r in rows[1:])]) + "\n")
    with pytest.raises(
        UserError, match=r"auxiliary.categories: af-tokens learns from masks, and stone has none"
    ):
        learn(auxiliary_params, outputs, "af-tokens")


def test_af_tokens_without_an_adaptor_scores_the_patches_as_they_are(
    auxiliary_params: Params, outputs: Path, store: Path
):
    """Cosines to two learned states; the saved model has no adaptor either."""
    tokens = auxiliary_params.methods.af_tokens.model_copy(update={"adaptor": False, "windows": (1,)})
    params = configure(auxiliary_params, outputs.parent / "data", af_tokens=tokens)
    detector = load_detector(learn(params, outputs, "af-tokens") / "seed-0")
    states = detector.state()["states"]
    assert not any(name.startswith("adaptor.") for name in detector.state())
    patches = torch.randn(3, 64, states.shape[1], generator=torch.Generator().manual_seed(0))
    s = torch.nn.functional.cosine_similarity(patches[:, :, None], states, dim=3) / 0.07
    torch.testing.assert_close(detector.score(patches).patch, torch.softmax(s, dim=2)[..., 1])
