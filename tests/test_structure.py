"""The shape of the project: what each stage declares, who may see labels, and which way imports go."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from toys import ROOT

from adlib.base.code import import_closure
from adlib.tools.audit import check_stages, label_readers

STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


def code_deps(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith(("adlib/", "stages/"))]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_rooms_that_it_runs(stage: str):
    """DVC sees an edit only in what is listed; a room that is not run restarts a stage for nothing."""
    module = STAGES[stage]["cmd"].split()[2]
    closure = [file for file in import_closure(module) if file != Path("adlib/__init__.py")]
    rooms = code_deps(stage)
    assert not [file for file in closure if not any(file.is_relative_to(room) for room in rooms)]
    assert not [room for room in rooms if not any(file.is_relative_to(room) for file in closure)]


def test_what_is_not_pushed_is_rebuilt_in_seconds():
    """Nothing that embeds or trains: docs/remotes.md says why, and the pipeline test pulls and rebuilds."""
    flags = {
        (stage, path): options
        for stage, body in STAGES.items()
        for out in body["outs"]
        if isinstance(out, dict)
        for path, options in out.items()
    }
    assert flags.keys() == {
        ("contaminate", "outputs/contaminate/${item.category}.json"),
        ("contaminate", "outputs/audit/${item.category}.json"),
        ("report", "report/index.html"),
        ("report", "report/triage.csv"),
    }
    assert all(options == {"push": False} for options in flags.values())


def test_only_contaminate_and_evaluate_see_labels():
    check_stages(ROOT / "dvc.yaml")
    evaluations = {"evaluate", "evaluate-confident", "evaluate-flow", "evaluate-auxiliary", "evaluate-clip"}
    assert label_readers(STAGES) == {"contaminate", "train-auxiliary", "train-clip"} | evaluations


def test_only_its_training_sees_the_auxiliary_labels_and_it_sees_nothing_of_the_target():
    """`outputs/auxiliary/fetch` holds the auxiliary set's labels, whatever the categories."""
    sees = {stage for stage, body in STAGES.items() if "outputs/auxiliary/fetch" in body["deps"]}
    assert sees == {"train-auxiliary", "train-clip"}
    for stage, features in (("train-auxiliary", "features"), ("train-clip", "clip")):
        data = {dep for dep in STAGES[stage]["deps"] if dep.startswith("outputs")}
        assert data == {"outputs/auxiliary/fetch", f"outputs/auxiliary/{features}"}
        assert not any(name.startswith("dataset") for name in STAGES[stage]["params"])


def test_only_evaluate_and_contaminate_read_labels_in_code():
    readers = {
        path.relative_to(ROOT).as_posix()
        for folder in ("adlib", "stages")
        for path in (ROOT / folder).rglob("*.py")
        if "read_labels(" in path.read_text(encoding="utf-8")
    }
    assert readers == {
        "adlib/fits/train_auxiliary.py",
        "adlib/data/manifest.py",
        "adlib/evaluation/evaluate.py",
        "stages/contaminate.py",
    }


def test_kappa_belongs_to_the_profiles_of_comet():
    reads_kappa = {stage for stage, body in STAGES.items() if "kappa" in body.get("params", [])}
    assert reads_kappa == {"train-confident", "train-flow", "train-auxiliary"}


def test_an_edit_of_one_method_refits_only_itself():
    """The key of a stored fit covers the closure of its method's module."""
    closure = {file.as_posix() for file in import_closure("adlib.learning.methods.patchcore")}
    assert "adlib/learning/methods/patchcore.py" in closure
    assert (
        not {
            "adlib/learning/methods/registry.py",
            "adlib/learning/methods/comet/strategy.py",
            "adlib/learning/equations/maml.py",
        }
        & closure
    )


@pytest.mark.parametrize(
    "module",
    ["stages.train", "stages.train_auxiliary", "stages.apply_auxiliary", "stages.evaluate", "stages.report"],
)
def test_training_and_later_never_touch_the_backbone(module: str):
    closure = {file.as_posix() for file in import_closure(module)}
    assert "adlib/embedding/networks/backbones.py" not in closure
    assert not {"adlib/embedding/patches.py", "adlib/embedding/rotations.py"} & closure


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter on the package and the contracts (pyproject.toml) of a folder."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_imports_keep_the_contracts():
    found = lint_imports(ROOT)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("base/planted.py", "import adlib.report.build"),
        ("datasets/planted.py", "import adlib.learning.equations.maml"),
        ("evaluation/planted.py", "import torch"),
        ("learning/heads/planted.py", "import adlib.config.params"),
        ("learning/methods/epochs.py", "import adlib.learning.methods.patchcore"),
        ("report/planted.py", "import requests"),
    ],
)
def test_a_planted_import_breaks_a_contract(tmp_path: Path, module: str, line: str):
    shutil.copytree(ROOT / "adlib", tmp_path / "adlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    with (tmp_path / "adlib" / module).open("a") as file:
        file.write(f"{line}\n")
    found = lint_imports(tmp_path)
    assert found.returncode == 1
    assert f"adlib.{module.removesuffix('.py').replace('/', '.')}" in found.stdout
    assert "1 broken" in found.stdout
