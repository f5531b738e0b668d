"""Where the sides of a comparison come from, and when they do not compare."""

from pathlib import Path
from typing import Any

import pytest
from projects import PARAMS, RESULTS, WORSE, adlib, both, commit, committed, gate, git, table, write
from ruamel.yaml import YAML
from toys import ROOT

HEAD = b"dataset,category,method,noise,seed,metric,value\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return committed(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"manifest": "m1"}, "mono: other images or their split"),
        (
            {"manifest": "m1", "params": {"dataset": PARAMS["dataset"] | {"max_train": 100}}},
            "mono: other images or their split (dataset.max_train 250 and 100)",
        ),
        ({"labels": "l1"}, "mono: other labels or masks"),
        ({"params": {"image_size": 128}}, "mono: image_size: 256 and 128"),
        ({"params": {"keep_aspect": True}}, "mono: keep_aspect: False and True"),
        ({"params": {"noise": PARAMS["noise"] | {"reserve": 0.3}}}, "mono: noise.reserve: 0.4 and 0.3"),
        ({"params": {"noise": PARAMS["noise"] | {"overlap": True}}}, "mono: noise.overlap: False and True"),
        (
            {"params": {"dataset": PARAMS["dataset"] | {"split_seed": 1}}},
            "mono: dataset.split_seed: 0 and 1",
        ),
        ({"splits": "s1"}, "mono: other training and test sets from the same settings"),
        ({"dataset": "textile"}, "mono: dataset elpv and textile"),
    ],
)
def test_unlike_results_are_refused(project: Path, change: dict[str, Any], reason: str):
    write(project, both(), **change)
    for flag in ([], ["--allow-unverified"]):
        result = gate(*flag)
        assert result.exit_code == 2
        assert "do not compare:" in result.output
        assert f"  {reason}\n" in result.output
    shown = adlib("compare", "HEAD")
    assert shown.exit_code == 0
    assert f"not measured alike: {reason}" in shown.output


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"seeds": [1]}},
        {"params": {"noise": PARAMS["noise"] | {"levels": [0.0]}}},
        {"params": {"kappa": 0.0}},
        {"excluded": "x1"},
    ],
)
def test_training_may_differ(project: Path, change: dict[str, Any]):
    write(project, both(), **change)
    assert gate().exit_code == 0


def test_seeds_and_the_code_that_draws_splits_both_changed(project: Path):
    write(project, both(), params={"seeds": [1]}, code="c1")
    result = gate()
    assert result.exit_code == 2
    assert "mono: the code that draws the splits changed, and so did noise or seeds" in result.output
    assert gate("--allow-unverified").exit_code == 0


def test_nothing_in_common(project: Path):
    write(project, table(RESULTS, category="poly"))
    result = gate()
    assert result.exit_code == 2
    assert "no result of the same category, method, noise level and metric" in result.output


def test_the_lock_of_an_unfinished_run_vouches_for_nothing(project: Path):
    yaml = YAML(typ="safe", pure=True)
    lock = yaml.load(project / "dvc.lock")
    lock["stages"]["contaminate@mono"]["outs"][0]["md5"] = "of a later run"
    with (project / "dvc.lock").open("w") as file:
        yaml.dump(lock, file)
    result = gate()
    assert result.exit_code == 2
    assert "workspace: dvc.lock has no finished evaluation of mono patchcore" in result.output
    assert gate("--allow-unverified").exit_code == 0


def test_another_runs_file(project: Path, tmp_path: Path):
    write(project, both(WORSE))
    other = write(tmp_path / "other", both())
    result = gate(against=str(other))
    assert result.exit_code == 1, result.output
    beside = tmp_path / "flat"
    beside.mkdir()
    for path in (other, other.parent.parent / "dvc.lock"):
        (beside / path.name).write_bytes(path.read_bytes())
    assert gate(against=str(beside / "results.csv")).exit_code == 1
    write(tmp_path / "small", both(), params={"image_size": 64})
    assert gate(against=str(tmp_path / "small/report/results.csv")).exit_code == 2


def test_a_file_without_a_lock_is_refused_unless_allowed(project: Path, tmp_path: Path):
    other = write(tmp_path / "other", both(), lock=False)
    result = gate(against=str(other))
    assert result.exit_code == 2
    assert f"{other}: no dvc.lock beside its results" in result.output.replace("\n", "")
    allowed = gate("--allow-unverified", against=str(other))
    assert allowed.exit_code == 0
    assert "no dvc.lock beside its results" in allowed.output


@pytest.mark.parametrize("against", ["nowhere", "HEAD~7", "none/results.csv", "--flag"])
def test_no_such_revision_or_file(project: Path, against: str):
    result = adlib("gate", f"--against={against}")
    assert result.exit_code == 2
    assert f"error: {against}: no such file, git revision or experiment" in result.output


def test_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    write(tmp_path, both())
    result = gate()
    assert result.exit_code == 2
    assert "is not in a git repository" in result.output


def test_a_revision_without_results(project: Path):
    (project / "report" / "results.csv").unlink()
    commit(project, "gone")
    write(project, both())
    result = gate()
    assert result.exit_code == 2
    assert "no report/results.csv there" in result.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needs rows with the columns dataset, category, "),
        (b"a,b\n1,2\n", "missing: dataset, category, method, noise, seed, metric, value"),
        (b"\xff\xfe\x00", "not a CSV file"),
        (
            b"dataset,category,method,noise,seed,metric,value\nd,c,m,0,0,k,x\n",
            "line 2: noise, seed, value",
        ),
        (b"dataset,category,method,noise,seed,metric,value\nd,c,m,0,0\n", "line 2: noise, seed, value"),
        (
            b"dataset,category,method,noise,seed,metric,value\nd,c,m,0,0,k,nan\n",
            "line 2: value must be finite",
        ),
        (
            b"dataset,category,method,noise,seed,metric,value\nd,c,m,0,0,k,1\nd,c,m,0.0,0,k,1\n",
            "line 3: c m noise 0 k, seed 0, is there twice",
        ),
        (
            b"dataset,category,method,noise,seed,metric,value\nd,c,m,0,0,k,1\ne,c,m,0,1,k,1\n",
            "line 3: c is of two datasets",
        ),
    ],
)
def test_bad_files(project: Path, tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    result = gate(against=str(path))
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize("text", ["<<<<<<< ours\nstages: {}\n", "schema: '2.0'\n", "[]", "stages: [1]"])
def test_a_broken_lock(project: Path, text: str):
    (project / "dvc.lock").write_text(text)
    result = gate()
    assert result.exit_code == 2
    assert "dvc.lock of workspace: not a lock file" in result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not valid YAML"), ("", "must hold keys and values, got NoneType"), ("- a", "got list")],
)
def test_broken_parameters(project: Path, text: str, message: str):
    (project / "params.yaml").write_text(text)
    result = gate()
    assert result.exit_code == 2
    assert "params.yaml of workspace: " in result.output
    assert message in result.output


def test_experiments_by_name(project: Path):
    """As `dvc exp` stores them: refs/exps/<baseline>/<name>; those of HEAD come before older ones."""
    baseline = git(project, "rev-parse", "HEAD")
    write(project, both(WORSE))
    worse = commit(project, "dvc: commit experiment")
    git(project, "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/foggy-mole", worse)
    git(project, "reset", "-q", "--hard", baseline)
    result = gate(against="foggy-mole")
    assert result.exit_code == 0
    assert f"against foggy-mole ({worse[:7]}): 1 better" in result.output
    git(project, "update-ref", f"refs/exps/{'a' * 2}/{'b' * 38}/foggy-mole", baseline)
    assert "1 better" in gate(against="foggy-mole").output
    commit(project, "on")
    result = gate(against="foggy-mole")
    assert result.exit_code == 2
    assert "2 experiments have this name" in result.output


def test_a_project_below_the_repositorys_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = tmp_path / "inspection"
    write(project, both())
    commit(tmp_path)
    monkeypatch.chdir(project)
    write(project, both(WORSE))
    assert gate().exit_code == 1


def test_the_committed_results_pass_against_themselves(monkeypatch: pytest.MonkeyPatch):
    """The real dvc.lock is understood: nothing about it is unverified."""
    monkeypatch.chdir(ROOT)
    result = gate(against="report/results.csv")
    assert result.exit_code == 0, result.output


def test_numbers_of_shots_are_results_of_their_own(project: Path):
    """results.csv has the column `shots` where a method sees a few normal images of the target."""
    results = project / "report" / "results.csv"
    header = "dataset,category,method,shots,noise,seed,metric,value\n"
    row = "elpv,mono,patchcore,{},0,0,image_auroc,{}\n"
    results.write_text(header + row.format(0, 0.8) + row.format(4, 0.9))
    commit(project)
    assert gate().exit_code == 0
    results.write_text(header + row.format(0, 0.8) + row.format(4, 0.85))
    result = gate()
    assert result.exit_code == 1
    assert "1 regressed, 1 within tolerance. First: mono patchcore/shots-4 noise 0" in result.output
