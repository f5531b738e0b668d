"""The shape of the project: what each stage declares, who may see labels, and which way imports go."""

from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from adlib.audit import check_stages, label_readers
from adlib.imports import import_closure

STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


def code_deps(stage: str) -> set[str]:
    return {dep for dep in STAGES[stage]["deps"] if dep.endswith((".py", ".html", ".css"))}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_import_closure(stage: str):
    """DVC sees an edit only in a file that is listed; one file too many reruns a stage for nothing."""
    module = STAGES[stage]["cmd"].split()[2]
    expected = {file.as_posix() for file in import_closure(module)}
    listed = {dep for dep in code_deps(stage) if dep.endswith(".py")}
    assert listed == expected, "mend with: python -m adlib.imports"


def test_report_lists_its_templates():
    templates = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "adlib" / "report").iterdir()
        if path.suffix in (".html", ".css")
    }
    assert templates == {dep for dep in code_deps("report") if not dep.endswith(".py")}


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
        "adlib/auxiliary.py",
        "adlib/data/manifest.py",
        "adlib/evaluation.py",
        "stages/contaminate.py",
    }


def test_kappa_belongs_to_the_profiles_of_comet():
    reads_kappa = {stage for stage, body in STAGES.items() if "kappa" in body.get("params", [])}
    assert reads_kappa == {"train-confident", "train-flow", "train-auxiliary"}


@pytest.mark.parametrize(
    ("layer", "forbidden"),
    [
        ("adlib/confidence.py", ("adlib.",)),
        ("adlib/maml.py", ("adlib.",)),
        ("adlib/contrastive.py", ("adlib.",)),
        ("adlib/losses.py", ("adlib.",)),
        ("adlib/heads", ("adlib.data", "adlib.features", "adlib.methods", "adlib.report")),
        ("adlib/metrics", ("adlib.data", "adlib.features", "adlib.methods", "adlib.heads")),
        ("adlib/features", ("adlib.methods", "adlib.heads", "adlib.report", "adlib.metrics")),
        ("adlib/data", ("adlib.features", "adlib.methods", "adlib.heads", "adlib.report", "adlib.metrics")),
        ("adlib/methods", ("adlib.data", "adlib.report", "adlib.metrics", "adlib.features.backbones")),
        ("adlib/evaluation.py", ("adlib.methods", "adlib.features", "adlib.training")),
        ("adlib/application.py", ("adlib.auxiliary", "adlib.evaluation", "adlib.features.build")),
        ("adlib/weights", ("adlib.methods", "adlib.report", "adlib.metrics", "adlib.training")),
        ("adlib/report", ("adlib.methods", "adlib.features", "adlib.training")),
    ],
)
def test_imports_go_one_way(layer: str, forbidden: tuple[str, ...]):
    for file in _python_files(ROOT / layer):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.lstrip().startswith(("from adlib", "import adlib")):
                imported = line.split()[1]
                assert not imported.startswith(forbidden), f"{file.relative_to(ROOT)}: {line}"


def test_methods_do_not_import_each_other():
    shared = {
        "__init__",
        "registry",
        "auxiliary",
        "comet",
        "epochs",
        "detector",
        "simplenet_head",
        "simplenet_learner",
        "flow_head",
        "token_detector",
        "statistics",
        "prior",
        "twins",
        "distances",
        "image_confidence",
        "cozad",  # the paper's loss, which both of its protocols train
        "cozad_zero",  # its detector is what the transductive one adapts with
    }
    methods = [path for path in (ROOT / "adlib" / "methods").glob("*.py") if path.stem not in shared]
    assert len(methods) >= 3
    for file in methods:
        for other in methods:
            assert f"adlib.methods.{other.stem} import" not in file.read_text(encoding="utf-8")


def test_an_edit_of_one_method_refits_only_itself():
    """The key of a stored fit covers the closure of its method's module."""
    closure = {file.as_posix() for file in import_closure("adlib.methods.patchcore")}
    assert "adlib/methods/patchcore.py" in closure
    assert not {"adlib/methods/registry.py", "adlib/methods/comet.py", "adlib/maml.py"} & closure


@pytest.mark.parametrize(
    "module",
    ["stages.train", "stages.train_auxiliary", "stages.apply_auxiliary", "stages.evaluate", "stages.report"],
)
def test_training_and_later_never_touch_the_backbone(module: str):
    closure = {file.as_posix() for file in import_closure(module)}
    assert "adlib/features/backbones.py" not in closure
    assert not {"adlib/features/build.py", "adlib/features/views.py"} & closure


def _python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]
