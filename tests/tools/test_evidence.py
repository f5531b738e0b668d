"""`adlib evidence`: boxes, neighbours and confidence behind a score, by hand and on drawn samples."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sample_outputs import AUXILIARY, CATEGORY, SMALL, prepare
from toys import CPU, ROOT
from typer.testing import CliRunner

from adlib.base.errors import UserError
from adlib.base.files import read_json, write_json
from adlib.cli.app import app
from adlib.config.params import load_params
from adlib.config.workspace import Workspace
from adlib.data.images import read_rgb
from adlib.data.manifest import read_manifest
from adlib.data.rows import open_features
from adlib.evaluation.evaluate import evaluate
from adlib.evaluation.maps import anomalous_patches, patch_box
from adlib.fits.apply_auxiliary import apply_auxiliary
from adlib.fits.files import load_scores
from adlib.fits.train import train
from adlib.fits.train_auxiliary import train_auxiliary
from adlib.learning.methods.image_confidence import ImageConfidence, confidence_score
from adlib.learning.methods.witnesses import patch_distances
from adlib.tools.ablation import override
from adlib.tools.evidence import evidence, find_witnesses, original_box

RUN = "noise-0.1_seed-0"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with fits of cozad, simplenet and cozad-zero."""
    changes = {"methods.simplenet.epochs": 1, "methods.auxiliary": ["cozad-zero"]}
    params = override(load_params(ROOT / "params.yaml"), {**SMALL, **changes})
    base = tmp_path_factory.mktemp("evidence")
    made = base / "outputs"
    splits, features = made / "contaminate" / f"{CATEGORY}.json", made / "features" / CATEGORY
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADLIB_CACHE", "off")
        prepare(params, made)
        for method in ("cozad", "simplenet"):
            train(params, CATEGORY, method, features, splits, made / "fits" / CATEGORY / method, base / "t")
        models = made / "auxiliary" / "fits" / "cozad-zero"
        train_auxiliary(params, "cozad-zero", Workspace(made).auxiliary, models, base / "t")
        apply_auxiliary(
            params, CATEGORY, "cozad-zero", models=models, auxiliary=Workspace(made).auxiliary,
            features=features, splits=splits, fetched=Workspace(made).fetched(CATEGORY),
            out=made / "fits" / CATEGORY / "cozad-zero", timing=base / "t",
        )  # fmt: skip
        yield made


def fit_folder(outputs: Path, method: str) -> Path:
    return outputs / "fits" / CATEGORY / method / RUN


def example_image(outputs: Path, number: int = 0) -> tuple[str, str]:
    """Id and path of a test image."""
    id = load_scores(fit_folder(outputs, "cozad")).test[number]
    samples = {
        sample.id: sample.path for sample in read_manifest(outputs / "fetch" / CATEGORY / "manifest.csv")
    }
    return id, str(ROOT / "samples" / samples[id])


def test_boxes_by_hand():
    assert patch_box(5, (3, 4), 96) == (24, 32, 48, 64)
    assert patch_box(11, (3, 4), 96) == (72, 64, 96, 96)
    assert original_box((24, 32, 48, 64), (300, 192), 96, keep_aspect=False) == (48, 100, 96, 200)
    # 100 x 50 is scaled to 96 x 48, with 24 pixels of padding to the left and right.
    assert original_box((12, 0, 36, 48), (100, 50), 96, keep_aspect=True) == (0, 0, 12, 50)


def test_anomalous_patches_by_hand():
    patch = np.array([0.1, 5.0, 2.0, 3.0, 0.2, 0.3, 0.4])
    assert anomalous_patches(patch, 2.0, 20) == [1, 3]
    assert anomalous_patches(patch, 9.0, 20) == []
    assert anomalous_patches(patch, -np.inf, 5) == [1, 3, 2, 6, 5]
    assert len(anomalous_patches(np.arange(100.0), 1.0, 20)) == 20


def test_confidence_by_hand():
    normality = torch.tensor([[5.0, 4.0, 1.0, -1.0], [5.0, 5.0, 5.0, 5.0]])
    torch.testing.assert_close(confidence_score(normality, 5.0, 1.0), torch.tensor([11 / 4, 0.0]))
    torch.testing.assert_close(confidence_score(normality, 5.0, 0.5), torch.tensor([5.0, 0.0]))
    rule = ImageConfidence(threshold=2.0, margin=5.0, worst=0.5, floor=0.01)
    torch.testing.assert_close(rule.weight(normality), torch.tensor([0.4, 1.0]))


def test_evidence_agrees_with_what_training_stored(outputs: Path):
    """Score, confidence and neighbours of a test image, from its pixels, are those of the fit."""
    folder = fit_folder(outputs, "cozad")
    scores = load_scores(folder)
    assert scores.nearest_normals is not None
    witnesses = find_witnesses(folder)
    assert scores.suspicion is not None
    assert len(witnesses.paths) == (scores.suspicion <= np.median(scores.suspicion)).sum()
    for number in (0, 7):
        id, path = example_image(outputs, number)
        assert scores.test[number] == id
        (found,) = evidence([path], folder, device="cpu")
        assert found["score"] == pytest.approx(float(scores.image[number]), rel=1e-3)
        assert found["confidence"] == pytest.approx(float(scores.nearest_normals.weight[number]), rel=1e-2)
        H, W, _ = read_rgb(path).shape
        for patch in found["patches"]:
            left, top, right, bottom = patch["box"]
            assert 0 <= left < right <= W
            assert 0 <= top < bottom <= H
            distances = [distance for _, distance in patch["nearest"]]
            assert distances == sorted(distances)
            assert {path for path, _ in patch["nearest"]} <= set(witnesses.paths)


def test_a_training_image_is_its_own_nearest_neighbour(outputs: Path):
    folder = fit_folder(outputs, "cozad")
    witnesses = find_witnesses(folder)
    info = read_json(folder / "fit.json")
    moved = folder.with_name("every-patch")
    shutil.copytree(folder, moved)
    write_json(moved / "fit.json", {**info, "heat_scale": None})
    (found,) = evidence([str(ROOT / "samples" / witnesses.paths[3])], moved, device="cpu")
    assert len(found["patches"]) == 5
    for patch in found["patches"]:
        assert patch["nearest"][0] == (witnesses.paths[3], pytest.approx(0, abs=0.05))


def test_a_zero_shot_model_has_auxiliary_witnesses(outputs: Path):
    folder = fit_folder(outputs, "cozad-zero")
    witnesses = find_witnesses(folder)
    assert len(witnesses.paths) == 40  # 30 for training and 10 of the test split are normal
    assert all(path.startswith(f"{AUXILIARY}/") and "/good/" in path for path in witnesses.paths)
    scores = load_scores(folder)
    assert scores.nearest_normals is not None
    assert {sample.path for sample in scores.witnesses} == set(witnesses.paths)
    assert scores.nearest_normals.nearest.shape == (len(scores.test), 3)
    (found,) = evidence([example_image(outputs)[1]], folder, device="cpu")
    assert found["confidence"] == pytest.approx(float(scores.nearest_normals.weight[0]), rel=1e-2)
    assert 0 < found["confidence"] <= 1


def test_the_report_shows_auxiliary_images_beside_zero_shot_examples(outputs: Path, tmp_path: Path):
    params = override(load_params(ROOT / "params.yaml"), {**SMALL, "methods.auxiliary": ["cozad-zero"]})
    evaluate(
        params, CATEGORY, Workspace(outputs).fetched(CATEGORY), outputs / "contaminate" / f"{CATEGORY}.json",
        outputs / "fits" / CATEGORY / "cozad-zero", tmp_path / "evaluation",
    )  # fmt: skip
    shown = read_json(tmp_path / "evaluation" / "gallery.json")["groups"]
    examples = [entry for group in ("hits", "misses", "false_alarms") for entry in shown[group]]
    assert examples
    for entry in examples:
        assert entry["auxiliary"] is True
        assert all(path.startswith(f"{AUXILIARY}/") and "/good/" in path for path in entry["nearest"])
        assert entry["distance"] == sorted(entry["distance"])


def test_a_method_without_doubt_has_no_confidence(outputs: Path):
    folder = fit_folder(outputs, "simplenet")
    (found,) = evidence([example_image(outputs)[1]], folder, device="cpu")
    assert found["confidence"] is None
    assert load_scores(folder).nearest_normals is None
    assert len(find_witnesses(folder).paths) == len(load_scores(folder).train)


def test_patch_distances_are_means_over_an_images_patches(outputs: Path):
    features = open_features(outputs / "features" / CATEGORY)
    view = features.select(features.info.ids[:3])
    scale = torch.zeros(view.width), torch.full((view.width,), 2.0)
    wrong = view.batch([1], CPU)[:, [4, 9]] + torch.tensor([[[3.0], [5.0]]])
    expected = [
        float(torch.stack([(patch - image).norm(dim=1).min() / 2 for patch in wrong[0]]).mean())
        for image in view.batch([0, 1, 2], CPU)
    ]
    assert patch_distances(wrong, view, scale, CPU)[0].tolist() == pytest.approx(expected, rel=1e-4)


def test_command_writes_json(outputs: Path, tmp_path: Path):
    path, model = example_image(outputs)[1], str(fit_folder(outputs, "cozad"))
    asked = ["evidence", path, "--model", model, "--device", "cpu", "--out", str(tmp_path / "e.json")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    (found,) = json.loads((tmp_path / "e.json").read_text())
    assert set(found) == {"path", "score", "decision", "confidence", "patches"}
    assert f"{path}: score " in result.output


def test_errors_are_the_users(outputs: Path, tmp_path: Path):
    copy = tmp_path / "model"
    shutil.copytree(fit_folder(outputs, "cozad"), copy)
    with pytest.raises(UserError, match=r"name a folder outputs/fits/<category>/<method>/<run>"):
        evidence([example_image(outputs)[1]], copy, device="cpu")
    elsewhere = tmp_path / "outputs" / "fits" / CATEGORY / "cozad" / RUN
    shutil.copytree(copy, elsewhere)
    with pytest.raises(UserError, match=r"features/weave is missing; run `dvc repro`"):
        find_witnesses(elsewhere)
    for part in ("features", "fetch"):
        shutil.copytree(outputs / part / CATEGORY, tmp_path / "outputs" / part / CATEGORY)
    info = read_json(elsewhere / "fit.json")
    write_json(elsewhere / "fit.json", {**info, "features_key": "other"})
    with pytest.raises(UserError, match=r"features/weave: of another backbone"):
        find_witnesses(elsewhere)
