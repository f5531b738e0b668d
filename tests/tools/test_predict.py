"""`adlib predict`: the scores of evaluation, bad files in their rows, and a model folder that moves."""

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import CPU
from typer.testing import CliRunner

from adlib.base.errors import UserError
from adlib.base.files import sha256_file
from adlib.cli.app import app
from adlib.config.networks import BackboneParams
from adlib.config.params import Params
from adlib.data.manifest import Sample
from adlib.data.splits import Splits, TrainingSet, write_splits
from adlib.embedding.networks.backbones import WeightsError, load_backbone
from adlib.embedding.patches import build_features
from adlib.fits.files import INFO, FitScores, load_scores
from adlib.fits.model import load_model
from adlib.fits.train import train
from adlib.tools.predict import find_images, predict

SIZE, GOOD, BROKEN = 64, 197, 3


class Fitted:
    """200 files of which 3 are broken, a fit on 20 of the good ones, and its scores of the others."""

    def __init__(self, base: Path, params: Params) -> None:
        self.images = base / "images"
        self.images.mkdir()
        rng = np.random.default_rng(0)
        self.paths = [self.images / f"{i:03}.png" for i in range(GOOD)]
        for path in self.paths:
            Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
        broken = [self.images / f"broken-{i}.png" for i in range(BROKEN)]
        for path, content in zip(broken, (b"", b"no image", self.paths[0].read_bytes()[:200]), strict=True):
            path.write_bytes(content)
        samples = sorted((Sample(sha256_file(p), p.name, "test") for p in self.paths), key=lambda s: s.id)
        self.by_id = {sample.id: str(self.images / sample.path) for sample in samples}
        backbone = params.backbone.model_copy(update={"weights": "random"})
        build_features(
            base / "features", samples, self.images, backbone, image_size=SIZE, keep_aspect=True, device=CPU
        )
        ids = [sample.id for sample in samples]
        training_set = TrainingSet(0.0, 0, tuple(ids[:20]), tuple(ids[20:60]))
        write_splits(base / "splits.json", Splits(tuple(ids[60:]), False, (training_set,)))
        params = params.model_copy(update={"threshold": params.threshold.model_copy(update={"fpr": 0.2})})
        train(
            params, "c", "patchcore", base / "features", base / "splits.json", base / "fits", base / "t.json"
        )
        self.folder = base / "fits" / training_set.name
        self.scores: FitScores = load_scores(self.folder)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    from toys import ROOT

    from adlib.config.params import load_params

    params = load_params(ROOT / "params.yaml")
    bank = params.methods.patchcore.model_copy(update={"presample": 300, "coreset": 50})
    methods = params.methods.model_copy(update={"patchcore": bank})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADLIB_CACHE", "off")
        return Fitted(tmp_path_factory.mktemp("predict"), params.model_copy(update={"methods": methods}))


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "predictions.csv").open() as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def run(*arguments: object, stdin: str = "", code: int = 0) -> str:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments), "--device", "cpu"], input=stdin)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def test_200_images_of_which_3_are_broken(fitted: Fitted, tmp_path: Path):
    shutil.copytree(fitted.folder, tmp_path / "moved")
    output = run(fitted.images, "--model", tmp_path / "moved", "--out", tmp_path / "out")
    found = rows(tmp_path / "out")
    assert len(found) == 200
    assert list(next(iter(found.values()))) == ["path", "score", "decision", "threshold", "error"]
    bad = {Path(path).name: row["error"] for path, row in found.items() if row["error"]}
    assert set(bad) == {"broken-0.png", "broken-1.png", "broken-2.png"}
    assert "empty" in bad["broken-0.png"]
    assert all(found[str(fitted.images / name)]["score"] == "" for name in bad)
    threshold = fitted.scores.threshold
    assert threshold is not None
    for id, score in zip(fitted.scores.test, fitted.scores.image, strict=True):
        row = found[fitted.by_id[id]]
        assert float(row["score"]) == pytest.approx(score, rel=1e-4)
        assert float(row["threshold"]) == pytest.approx(threshold.threshold, rel=1e-8)
        assert row["decision"] == ("anomalous" if float(row["score"]) > threshold.threshold else "normal")
    flagged = sum(row["decision"] == "anomalous" for row in found.values())
    assert 0 < flagged < 100
    assert f"197 images scored, {flagged} anomalous, 3 bad files" in output
    assert output.count("error: ") == 3
    heatmaps = list((tmp_path / "out" / "heatmaps").iterdir())
    assert len(heatmaps) == 197
    with Image.open(heatmaps[0]) as image:
        assert (image.size, image.format) == ((SIZE, SIZE), "PNG")
    described = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert described["threshold"] == asdict(threshold)
    assert len(described["predictions"]) == 200
    for row in described["predictions"]:
        assert (row["heatmap"] is None) == (row["error"] is not None)
        assert row["heatmap"] is None or (tmp_path / "out" / row["heatmap"]).is_file()


def test_colours_do_not_depend_on_the_other_images(fitted: Fitted, tmp_path: Path):
    few, many = fitted.paths[:1], fitted.paths[:5]
    for name, paths in (("few", few), ("many", many)):
        predict(map(str, paths), fitted.folder, tmp_path / name, device="cpu")
    a, b = (tmp_path / name / "heatmaps" / "000000_000.png" for name in ("few", "many"))
    assert a.read_bytes() == b.read_bytes()


def test_paths_on_stdin_and_patterns(fitted: Fitted, tmp_path: Path):
    listed = f"{fitted.paths[3]}\n\n{fitted.paths[5]}\n"
    pattern = fitted.images / "00[56].png"
    run("-", pattern, "--model", fitted.folder, "--out", tmp_path, stdin=listed)
    assert [Path(path).name for path in rows(tmp_path)] == ["003.png", "005.png", "006.png"]


def test_a_missing_file_is_a_row(fitted: Fitted, tmp_path: Path):
    run(fitted.paths[0], tmp_path / "none.png", "--model", fitted.folder, "--out", tmp_path)
    assert "No such file" in rows(tmp_path)[str(tmp_path / "none.png")]["error"]


def test_nothing_but_bad_files(fitted: Fitted, tmp_path: Path):
    output = run(tmp_path / "none.png", "--model", fitted.folder, "--out", tmp_path, code=2)
    assert "0 images scored, 0 anomalous, 1 bad files" in output


def test_arguments_without_an_image(fitted: Fitted, tmp_path: Path):
    common = ("--model", fitted.folder, "--out", tmp_path / "out")
    assert "no image there (allowed in folders: .bmp" in run(tmp_path, *common, code=1)
    assert "no image there" in run(tmp_path / "*.png", *common, code=1)
    assert "no image given" in run("-", *common, code=1)
    assert not (tmp_path / "out").exists()


def test_a_folder_is_searched_to_the_bottom_and_each_file_taken_once(tmp_path: Path):
    (tmp_path / "b").mkdir()
    for name in ("b/2.PNG", "1.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    found = find_images([str(tmp_path / "b" / "2.PNG"), str(tmp_path)])
    assert found == [str(tmp_path / "b" / "2.PNG"), str(tmp_path / "1.jpg")]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path):
    (tmp_path / "a[1].png").write_bytes(b"x")
    assert find_images([str(tmp_path / "a[1].png")]) == [str(tmp_path / "a[1].png")]


def edited(fitted: Fitted, target: Path, **changes: object) -> Path:
    """A copy of the model with changes to its description."""
    shutil.copytree(fitted.folder, target)
    info = json.loads((target / INFO).read_text())
    (target / INFO).write_text(json.dumps(info | changes))
    return target


def test_no_model_there(tmp_path: Path):
    with pytest.raises(UserError, match=r"no fitted model \(no fit.json\); name a folder outputs/fits"):
        load_model(tmp_path, CPU)


@pytest.mark.parametrize("change", [{"embedding": {}}, {"grid": None}])
def test_a_fit_that_cannot_embed_images(fitted: Fitted, tmp_path: Path, change: dict):
    with pytest.raises(UserError, match="does not say how to turn an image into patch features"):
        load_model(edited(fitted, tmp_path / "m", **change), CPU)


def test_other_weights_are_refused(fitted: Fitted, tmp_path: Path):
    with pytest.raises(WeightsError, match="on backbone weights ffffffffffff…, but weights=random"):
        load_model(edited(fitted, tmp_path / "m", weights_sha256="f" * 64), CPU)


def test_weights_that_were_moved(fitted: Fitted, tmp_path: Path):
    """A local file, named anew; another one is refused by the tensors' hash."""
    info = json.loads((fitted.folder / INFO).read_text())
    params = BackboneParams.model_validate_json(json.dumps(info["embedding"]["backbone"]))
    state = load_backbone(params, CPU).network.state_dict()
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    again = load_model(fitted.folder, CPU, str(path))
    assert again.recipe.info["weights_sha256"] == info["weights_sha256"]
    torch.save({name: tensor + 1 for name, tensor in state.items()}, path)
    with pytest.raises(WeightsError, match="with --weights"):
        load_model(fitted.folder, CPU, str(path))
    with pytest.raises(WeightsError, match="no file"):
        load_model(fitted.folder, CPU, str(tmp_path / "gone.pth"))


def test_without_calibration_there_are_scores_only(fitted: Fitted, tmp_path: Path):
    folder = edited(fitted, tmp_path / "m", heat_scale=None)
    (folder / "threshold.json").unlink()
    run(fitted.paths[0], "--model", folder, "--out", tmp_path / "out")
    (row,) = rows(tmp_path / "out").values()
    assert row["score"]
    assert row["decision"] == row["threshold"] == row["error"] == ""
    assert not (tmp_path / "out" / "heatmaps").exists()
