"""Leaks are refused: an image on two sides, a stage that could see labels; look-alikes are listed."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from toys import ROOT
from typer.testing import CliRunner

from adlib.base.errors import UserError
from adlib.base.files import write_json
from adlib.cli.app import app
from adlib.data.leaks import LeakError, check_disjoint, check_splits, near_duplicates
from adlib.data.manifest import Label, Sample, write_rows
from adlib.data.splits import Splits, TrainingSet, write_splits
from adlib.tools.audit import audit_project, check_stages, label_readers

PATHS = {id: f"{id}.png" for id in ("t1", "t2", "n1", "n2", "c1", "a1")}
LABELS = {id: Label(id, "crack" if id in ("a1", "t2") else "good", "", "") for id in PATHS}


def plan(
    *, train: tuple[str, ...] = ("n1", "n2"), calibration: tuple[str, ...] = ("c1",), overlap: bool = False
) -> Splits:
    return Splits(("t1", "t2"), overlap, (TrainingSet(0.0, 0, train, calibration),))


def test_parts_that_are_apart():
    check_disjoint({"test": ["a"], "training": ["b"], "support": ["c"], "calibration": []}, {})
    check_splits(plan(), LABELS, PATHS)


@pytest.mark.parametrize(
    ("leak", "message"),
    [
        ({"train": ("n1", "t1")}, r"1 images are in both test and training .*: t1.png; rerun from the fetch"),
        ({"calibration": ("t1",)}, r"in both test and calibration .*: t1.png"),
        ({"calibration": ("n2", "c1")}, r"in both training and calibration .*: n2.png"),
        ({"train": ("t1",), "overlap": True}, r"in both test and training .*: t1.png"),
    ],
)
def test_an_image_in_two_parts(leak: dict, message: str):
    with pytest.raises(LeakError, match=message):
        check_splits(plan(**leak), LABELS, PATHS)


def test_overlap_allows_injected_anomalies_in_the_test_set_and_nothing_else():
    check_splits(plan(train=("n1", "t2"), overlap=True), LABELS, PATHS)
    with pytest.raises(LeakError):
        check_splits(plan(train=("n1", "t2")), LABELS, PATHS)


def test_few_shot_support_and_a_long_list():
    ids = [f"{i:02}" for i in range(12)]
    with pytest.raises(LeakError, match=r"12 images are in both test and support .*: 00, .*09 … and 2 more"):
        check_disjoint({"test": ids, "support": ids}, {})


def test_look_alikes_across_the_split():
    hashes = dict.fromkeys(PATHS, "0" * 64) | {"n2": "f" * 64, "a1": "0" * 64}
    found = near_duplicates(plan(calibration=()), hashes, PATHS)
    pair = {"distance": 0, "first": {"path": "n1.png", "part": "training"}}
    assert found["pairs"] == [pair | {"second": {"path": f"t{i}.png", "part": "test"}} for i in (1, 2)]
    assert (found["bits"], found["limit"]) == (256, 16)


@pytest.mark.parametrize(
    ("dep", "sees"),
    [
        ("outputs/fetch/${item.category}/labels.csv", True),
        ("outputs/fetch/mono/labels.csv", True),
        ("outputs/fetch/${item.category}", True),
        ("outputs/fetch", True),
        ("outputs", True),
        (".", True),
        ({"outputs/fetch/": {"hash": "md5"}}, True),
        ("outputs/fetch/${item.category}/manifest.csv", False),
        ("outputs/features/${item.category}", False),
        ("outputs/contaminate", False),
        ("data", False),
    ],
)
def test_labels_are_seen_through_the_file_or_a_folder_around_it(dep: object, sees: bool):
    assert label_readers({"train": {"deps": [dep]}, "other": {}}) == ({"train"} if sees else set())


@pytest.mark.parametrize("stage", ["train", "train-confident", "features", "report", "evaluated", "fetch"])
def test_a_stage_that_may_not_see_labels(tmp_path: Path, stage: str):
    allowed = ("contaminate", "train-auxiliary", "train-clip", "evaluate", "evaluate-auxiliary")
    stages = {name: {"deps": ["outputs/fetch/x/labels.csv"]} for name in allowed}
    path = tmp_path / "dvc.yaml"
    YAML().dump({"stages": stages}, path)
    check_stages(path)
    YAML().dump({"stages": stages | {stage: {"deps": ["outputs/fetch"]}}}, path)
    with pytest.raises(LeakError, match=f"dvc.yaml: {stage} depends on the sealed labels; only contaminate"):
        check_stages(path)


def test_no_dvc_yaml(tmp_path: Path):
    with pytest.raises(UserError, match=r"dvc\.yaml: No such file or directory; run from"):
        check_stages(tmp_path / "dvc.yaml")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that has run on `mono` and `poly`, as far as the audit looks."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for category in ("mono", "poly"):
        outputs = tmp_path / "outputs"
        write_splits(outputs / "contaminate" / f"{category}.json", plan())
        write_rows(
            outputs / "fetch" / category / "manifest.csv",
            [Sample(id, path, "test") for id, path in PATHS.items()],
            Sample,
        )
        near = near_duplicates(plan(), {id: f"{i:064x}" for i, id in enumerate(PATHS)}, PATHS)
        write_json(outputs / "audit" / f"{category}.json", near)
        fit = {"train": ["n1"], "calibration": ["c1"]}
        write_json(outputs / "fits" / category / "patchcore" / "noise-0_seed-0" / "fit.json", fit)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command(project: Path):
    result = CliRunner().invoke(app, ["audit"])
    assert result.exit_code == 0, result.output
    assert "ok   dvc.yaml: no stage" in result.output
    assert "ok   poly: no test image in training or calibration, in the plan and in 1 fits" in result.output
    assert "near-duplicates across the split\n  " in result.output
    assert "n1.png (training) ~ t2.png (test)\n" in result.output


def test_the_command_finds_a_fit_on_a_test_image(project: Path):
    path = project / "outputs/fits/mono/patchcore/noise-0_seed-0/fit.json"
    path.write_text(json.dumps({"train": ["t1"], "calibration": []}))
    result = CliRunner().invoke(app, ["audit"])
    assert result.exit_code == 1
    assert (
        "leak mono: 1 images are in both test and training and calibration (by their sha256): t1.png"
        in result.output
    )


def test_what_has_not_run_is_not_in_order(project: Path):
    (project / "outputs/audit/mono.json").unlink()
    found = {what: ok for what, ok, _ in audit_project(["mono"], project)}
    assert found == {"dvc.yaml": True, "mono": False}


def test_the_command_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["audit"])
    assert result.exit_code == 1
    assert "error: params.yaml: " in result.output
