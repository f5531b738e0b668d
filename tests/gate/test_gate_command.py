"""`adlib gate` and `adlib compare` as a user runs them, on small git repositories."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from conftest import ROOT
from projects import PARAMS, Table, commit, git, table, write
from ruamel.yaml import YAML
from typer.testing import CliRunner

from adlib.cli import app
from adlib.gate.rules import DEFAULTS

RESULTS = {"image_auroc": 0.95, "image_ap": 0.94, "image_f1max": 0.87}
WORSE = RESULTS | {"image_ap": 0.90}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed run of two methods; the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    write(folder, both())
    commit(folder)
    return folder


def both(first: dict[str, float] | None = None) -> Table:
    return table(first or RESULTS) | table({"image_auroc": 0.9}, method="simplenet")  # type: ignore[arg-type]


def adlib(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def gate(*arguments: object, against: str = "HEAD") -> Result:
    return adlib("gate", "--against", against, *arguments)


def test_nothing_changed(project: Path):
    result = gate()
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].startswith("gate: pass, 4 results against HEAD (")
    assert result.output.splitlines()[-1].endswith(": 4 within tolerance")


def test_a_planted_regression(project: Path):
    write(project, both(WORSE))
    result = gate()
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert re.split(r" {2,}", lines[1].strip()) == [
        "mono", "patchcore", "0", "image_ap", "0.9400", "0.9000", "-0.0400", "0.0100 rule", "regressed",
    ]  # fmt: skip
    assert (
        len([line for line in lines if line.startswith("mono ")]) == 4
    )  # every delta, not the bad ones only
    assert "gate: FAIL, 4 results" in lines[-1]
    assert "1 regressed, 3 within tolerance" in lines[-1]
    assert "First: mono patchcore noise 0 image_ap 0.9400 -> 0.9000 (-0.0400, tolerance 0.0100" in lines[-1]


def test_a_regression_planted_by_hand_is_told_from_a_run(project: Path):
    """results.csv edited without a run: judged all the same, and said."""
    results = project / "report" / "results.csv"
    results.write_text(results.read_text().replace("0.940000", "0.900000"))
    result = gate()
    assert result.exit_code == 1
    assert "note: workspace: report/results.csv is not what dvc.lock records" in result.output


def test_parameters_edited_after_the_run(project: Path):
    with (project / "params.yaml").open("a") as file:
        file.write("# later\n")
    result = gate()
    assert result.exit_code == 0
    assert "note: workspace: params.yaml has changed since these results were made" in result.output


def test_other_seeds_and_their_spread_pass_and_a_real_loss_does_not(project: Path):
    """Results of a real run: PatchCore and SimpleNet on mono, six seeds, halved at random."""
    rows = (Path(__file__).parent / "seeds.csv").read_text().splitlines()
    header, *rows = rows

    def run(seeds: set[str], loss: float = 0.0) -> None:
        chosen = [row.split(",") for row in rows]
        lines = [
            ",".join((*row[:6], f"{float(row[6]) - loss * (row[2] == 'simplenet'):.6f}"))
            for row in chosen
            if row[4] in seeds
        ]
        (project / "report" / "results.csv").write_text("\n".join((header, *lines)) + "\n")

    for reference, current in (("012", "345"), ("024", "135"), ("345", "012"), ("051", "243")):
        run(set(reference))
        commit(project)
        run(set(current))
        assert gate().exit_code == 0, gate().output
        run(set(current), loss=0.06)
        assert gate().exit_code == 1
        run(set(reference), loss=0.011)  # the same seeds: a smaller loss shows
        assert gate().exit_code == 1


def test_missing_new_and_floor(project: Path):
    rules = project / "gate.yaml"
    write(project, table(RESULTS) | table({"image_auroc": 0.8}, method="comet-sn"))
    result = gate()
    assert result.exit_code == 1
    assert "1 missing, 3 within tolerance, 1 new" in result.output
    assert "First: mono simplenet noise 0 image_auroc is missing (was 0.9000)" in result.output
    rules.write_text(
        "rules:\n- {method: simplenet, judge: false}\n- {method: comet-sn, floor: 0.85}\n"
        "- {metric: nope, floor: 1}\n"
    )
    result = gate()
    assert result.exit_code == 1
    assert "First: mono comet-sn noise 0 image_auroc is 0.8000, below its floor 0.85" in result.output
    assert "note: the rule `metric: nope, floor: 1.0` matches no result" in result.output
    other = project / "other.yaml"
    other.write_text("rules: [{method: simplenet, judge: false}, {method: comet-sn, floor: 0.75}]\n")
    assert gate("--rules", other).exit_code == 0


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
            "line 2: noise, seed and value",
        ),
        (b"dataset,category,method,noise,seed,metric,value\nd,c,m,0,0\n", "line 2: noise, seed and value"),
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


def test_broken_parameters(project: Path):
    (project / "params.yaml").write_text("a: [")
    result = gate()
    assert result.exit_code == 2
    assert "params.yaml of workspace: not valid YAML" in result.output


def test_bad_rules(project: Path):
    (project / "gate.yaml").write_text("rules: [{metrik: image_ap, absolute: 0.1}]\n")
    result = gate()
    assert result.exit_code == 2
    assert "rules.0.metrik: unknown key" in result.output
    assert "did you mean 'metric'?" in result.output


def test_against_is_needed_and_defaults_are_shown(project: Path):
    assert adlib("gate").exit_code == 2
    assert adlib("gate", "--defaults").output == DEFAULTS.read_text()


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


def test_markdown_and_json(project: Path):
    write(project, both(WORSE))
    result = gate("--md", "out/gate.md", "--json", "out/gate.json")
    assert result.exit_code == 1
    text = (project / "out" / "gate.md").read_text()
    assert text.startswith("### Gate: FAIL\n\ngate: FAIL, 4 results against HEAD")
    before, folded = text.split("<details>")
    assert (
        "| mono | patchcore | 0 | image_ap | 0.9400 | 0.9000 | -0.0400 | 0.0100 rule | regressed |" in before
    )
    assert before.count("\n| mono ") == 1
    assert folded.startswith("\n<summary>Other results: 3 same</summary>\n\n| category |")
    assert folded.count("\n| mono ") == 3
    assert folded.endswith("</details>\n")
    found = json.loads((project / "out" / "gate.json").read_text())
    assert (found["passed"], found["current"], found["counts"]) == (
        False,
        "workspace",
        {"regressed": 1, "same": 3},
    )
    first = found["results"][0]
    assert first["metric"] == "image_ap"
    assert first["change"] == pytest.approx(-0.04)
    assert (first["tolerance"], first["basis"], first["better"]) == (0.01, "rule", "higher")
    write(project, both())
    assert gate("--md", "out/gate.md").exit_code == 0
    assert (project / "out" / "gate.md").read_text().startswith("### Gate: pass\n")


def test_names_are_shown_as_they_are(project: Path):
    odd = table({"image_ap": 0.9}, category="a|b<c>*", method="[red]m")
    write(project, odd)
    commit(project)
    result = gate("--md", "gate.md")
    assert "a|b<c>*   [red]m" in result.output
    assert "| a\\|b&lt;c&gt;\\* | [red]m |" in (project / "gate.md").read_text()


def test_compare(project: Path):
    write(project, both(WORSE), params={"kappa": 0.5})
    result = adlib("compare", "HEAD", "--html", "page.html")
    assert result.exit_code == 0, result.output
    assert re.search(r"kappa +1\.5 +0\.5", result.output)
    assert re.search(r"mono +patchcore +0 +image_ap +0\.9400 +0\.9000 +-0\.0400\s*\n", result.output)
    assert "regressed" not in result.output
    assert "only the means are compared" in result.output
    page = (project / "page.html").read_text()
    assert "<td>1.5</td><td>0.5</td>" in page
    assert "only the means are compared" in page
    assert "-0.0400" in page
    commit(project)
    again = adlib("compare", "HEAD~1", "HEAD")
    assert "-0.0400" in again.output
    assert "parameters: the same" in adlib("compare", "HEAD").output


def test_compare_without_parameters(project: Path, tmp_path: Path):
    (tmp_path / "results.csv").write_bytes((project / "report" / "results.csv").read_bytes())
    result = adlib("compare", tmp_path / "results.csv")
    assert "parameters: not known" in result.output
    assert "note: " in result.output


def test_compare_bad_side(project: Path):
    result = adlib("compare", "HEAD", "nowhere")
    assert result.exit_code == 2
    assert "nowhere: no such file" in result.output


def test_the_committed_results_pass_against_themselves(monkeypatch: pytest.MonkeyPatch):
    """The real dvc.lock is understood: nothing about it is unverified."""
    monkeypatch.chdir(ROOT)
    result = gate(against="report/results.csv")
    assert result.exit_code == 0, result.output
