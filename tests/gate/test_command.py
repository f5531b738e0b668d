"""`adlib gate` and `adlib compare` as a user runs them, on small git repositories."""

import json
import re
from pathlib import Path

import pytest
from projects import RESULTS, WORSE, adlib, both, commit, committed, gate, table, write

from adlib.gate.rules import DEFAULTS


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return committed(tmp_path, monkeypatch)


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


def test_bad_rules(project: Path):
    (project / "gate.yaml").write_text("rules: [{metrik: image_ap, absolute: 0.1}]\n")
    result = gate()
    assert result.exit_code == 2
    assert "rules.0.metrik: unknown key" in result.output
    assert "did you mean 'metric'?" in result.output


def test_against_is_needed_and_defaults_are_shown(project: Path):
    assert adlib("gate").exit_code == 2
    assert adlib("gate", "--defaults").output == DEFAULTS.read_text()


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
