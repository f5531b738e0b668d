"""Sets without a normal image: targets for methods that train elsewhere, measured by their pixels alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from auxiliary_set import ANOMALIES, NORMALS, configure, planted, write_category, write_sets
from PIL import Image

from adlib.base.files import read_json, write_json
from adlib.base.tables import read_csv
from adlib.config.images import AuxiliaryParams
from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.data.contaminate import contaminate
from adlib.data.manifest import DataError, Record
from adlib.data.rows import Features
from adlib.data.splits import write_splits
from adlib.datasets.fetch import Fetched, fetch, zero_shot_only
from adlib.evaluation.evaluate import evaluate, load_test_set
from adlib.fits.apply_auxiliary import apply_auxiliary
from adlib.fits.train import train
from adlib.fits.train_auxiliary import train_auxiliary
from adlib.report.build import write_report

RAIL, SIZE = "type-I", 32
PIXEL = {"pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_0.3", "aupro_0.05"}


def rails(root: Path, params: Params) -> Params:
    """RSDDs with `ANOMALIES` rails whose defect is the first row of patches, as in `planted` features."""
    folder = root / "Type-I RSDDs dataset"
    for part in ("Rail surface images", "GroundTruth"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(ANOMALIES):
        pixels = rng.integers(0, 255, (SIZE, SIZE), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "Rail surface images" / f"rail_{i}.jpg")
        mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
        mask[: SIZE // 8] = 255
        Image.fromarray(mask).save(folder / "GroundTruth" / f"rail_{i}.jpg")
    dataset = {"name": "rsdd", "root": str(root), "categories": (RAIL,)}
    return params.model_copy(update={"dataset": params.dataset.model_copy(update=dataset)})


@pytest.fixture
def project(toy_params: Params, tmp_path: Path, store: Path) -> tuple[Params, Path, Fetched]:
    """Parameters of a zero-shot run on rails, and the outputs of fetch, features and contaminate."""
    outputs = write_sets(tmp_path)
    params = rails(tmp_path / "rails", configure(toy_params, tmp_path / "data"))
    fetched = fetch(params.dataset, RAIL)
    toy = planted(seed=9)
    info = replace(toy.info, ids=tuple(sorted(sample.id for sample in fetched.samples)))
    rows = np.asarray(toy.select(toy.info.ids).rows)[NORMALS:]
    write_category(outputs, RAIL, fetched.samples, fetched.labels, Features(info, rows), tmp_path / "rails")
    labels = {label.id: label for label in fetched.labels}
    plan = contaminate(
        fetched.samples, labels, levels=params.noise.levels, seeds=params.seeds, reserve=0.4, overlap=False,
        split_seed=0, contamination=0.2,
    )  # fmt: skip
    assert set(plan.test) == set(labels), "no reserve is withheld where nothing can be made dirty"
    assert {(s.ids, s.calibration) for s in plan.training_sets} == {((), ())}
    write_splits(outputs / "contaminate" / f"{RAIL}.json", plan)
    write_json(outputs / "audit" / f"{RAIL}.json", {"bits": 256, "limit": 16, "pairs": []})
    return params, outputs, fetched


def score(params: Params, outputs: Path) -> None:
    learned = outputs / "auxiliary" / "fits"
    workspace = Workspace(outputs)
    train_auxiliary(params, "af-tokens", workspace.auxiliary, learned, outputs / "timing.json")
    apply_auxiliary(
        params, RAIL, "af-tokens", models=learned, auxiliary=workspace.auxiliary,
        fetched=workspace.fetched(RAIL), features=outputs / "features" / RAIL,
        splits=outputs / "contaminate" / f"{RAIL}.json", out=outputs / "fits" / RAIL / "af-tokens",
        timing=outputs / "timing" / RAIL / "af-tokens.json",
    )  # fmt: skip


def test_pixel_metrics_and_a_report(project: tuple[Params, Path, Fetched], tmp_path: Path):
    params, outputs, _ = project
    score(params, outputs)
    out = outputs / "evaluation" / RAIL / "af-tokens"
    evaluate(
        params, RAIL, Workspace(outputs).fetched(RAIL), outputs / "contaminate" / f"{RAIL}.json",
        outputs / "fits" / RAIL / "af-tokens", out,
    )  # fmt: skip
    found = read_json(out / "metrics.json")
    assert {entry["metric"] for entry in found["metrics"]} == PIXEL
    (value, *_) = [entry["value"] for entry in found["metrics"] if entry["metric"] == "pixel_auroc"]
    assert value > 0.9
    assert found["thresholds"] == []
    assert read_csv(out / "defects.csv") == []
    gallery = read_json(out / "gallery.json")["groups"]
    assert gallery["false_alarms"] == []
    assert all(entry["above"] is None for entry in gallery["hits"] + gallery["misses"])

    (tmp_path / "params.yaml").write_text("as given")
    write_report(params, Workspace(outputs), tmp_path / "report", tmp_path / "params.yaml")
    rows = read_csv(tmp_path / "report" / "results.csv")
    assert {row["metric"] for row in rows} == PIXEL
    page = (tmp_path / "report" / "index.html").read_text()
    assert f"Trained on another set, af-tokens reaches a pixel AUROC on {RAIL} of" in page
    assert "No normal images." in page
    assert 'id="curves"' not in page
    assert ">nan" not in page


def test_methods_that_train_on_the_target_are_refused(project: tuple[Params, Path, Fetched]):
    params, outputs, _ = project
    splits = outputs / "contaminate" / f"{RAIL}.json"
    with pytest.raises(DataError, match=r"type-I: patchcore trains on normal images, .* has none; only meth"):
        train(params, RAIL, "patchcore", outputs / "features" / RAIL, splits, outputs / "x", outputs / "t")
    tokens = params.methods.af_tokens.model_copy(update={"shots": (1,)})
    few = params.model_copy(update={"methods": params.methods.model_copy(update={"af_tokens": tokens})})
    with pytest.raises(DataError, match="shots: the training set noise-0_seed-0 holds 0 images, got 1"):
        score(few, outputs)


def test_an_auxiliary_set_needs_normal_images(project: tuple[Params, Path, Fetched]):
    params, _, _ = project
    auxiliary = AuxiliaryParams(**params.dataset.model_dump())
    with pytest.raises(DataError, match="type-I: no train normal and no test normal image"):
        fetch(auxiliary, RAIL)


@pytest.mark.parametrize(
    ("defect", "mask", "alone"), [("cut", "m.png", True), ("cut", "", False), ("good", "", False)]
)
def test_only_masked_anomalies_make_a_zero_shot_target(defect: str, mask: str, alone: bool):
    rail = Record("rail.png", "test", "defective", "rail_mask.png")
    assert zero_shot_only([rail, Record("x.png", "test", defect, mask)]) is alone
    assert not zero_shot_only([])


def test_anomalies_without_masks_cannot_be_evaluated(project: tuple[Params, Path, Fetched]):
    _, _, fetched = project
    samples = {sample.id: sample for sample in fetched.samples}
    labels = {label.id: replace(label, mask="") for label in fetched.labels}
    with pytest.raises(DataError, match="6 images are all anomalous, and without masks; both kinds are nee"):
        load_test_set(tuple(samples), samples, labels, Path(), SIZE, keep_aspect=False)
