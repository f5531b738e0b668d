"""Thresholds, kinds of defect and look-alikes: the rows of the page's tables, and what stands on the page."""

from pathlib import Path

import pytest
from fake_outputs import configure, make_outputs
from toys import ROOT

from adlib.base.files import read_json, write_json
from adlib.config.params import Params
from adlib.report.build import write_report
from adlib.report.operating import defect_rows, lookalikes, operating_rows
from adlib.report.results import Results, read_results


@pytest.fixture
def made(params: Params, tmp_path: Path) -> tuple[Results, Path, Params]:
    chosen = configure(params, levels=(0.0, 0.05, 0.1), seeds=(0, 1))
    workspace = make_outputs(tmp_path / "outputs", chosen)
    return read_results(chosen, workspace), workspace, chosen


def test_counts_are_summed_over_seeds_at_both_ends(made: tuple[Results, Path, Params]):
    results, workspace, _ = made
    rows = operating_rows(results, workspace)
    assert [row.noise for row in rows] == [0.0, 0.1] * 4
    fits = read_json(workspace.outputs / "evaluation" / "mono" / "simplenet" / "metrics.json")["thresholds"]
    clean = [fit for fit in fits if fit["noise"] == 0.0]
    assert rows[0].false_positives == sum(fit["false_positives"] for fit in clean)
    assert (rows[0].normals, rows[0].anomalies) == (2 * 12, 2 * 12)
    assert rows[0].interval == tuple(clean[0]["fpr_interval_95"])


def test_without_calibration_there_are_no_rows(made: tuple[Results, Path, Params]):
    results, workspace, chosen = made
    for path in workspace.outputs.glob("evaluation/*/*/metrics.json"):
        write_json(path, read_json(path) | {"thresholds": []})
    assert operating_rows(results, workspace) == []
    write_report(chosen, workspace, workspace.outputs / "report", ROOT / "params.yaml")
    assert "No calibration images were set aside" in (workspace.outputs / "report" / "index.html").read_text()


def test_a_row_a_kind_of_defect_with_every_method(made: tuple[Results, Path, Params]):
    results, workspace, _ = made
    rows = defect_rows(results, workspace)
    assert [(row.category, row.defect) for row in rows] == [
        (category, defect) for category in ("mono", "poly") for defect in ("crack", "dent")
    ]
    assert rows[0].auroc == {"simplenet": 0.875, "patchcore": 0.875}


def test_the_most_alike_pair_comes_first(made: tuple[Results, Path, Params]):
    results, workspace, chosen = made
    path = workspace.outputs / "audit" / "mono.json"
    found = read_json(path)
    closer = found["pairs"][0] | {"distance": 1}
    write_json(path, found | {"pairs": [*found["pairs"], closer]})
    write_json(workspace.outputs / "audit" / "poly.json", found | {"pairs": []})
    pairs = lookalikes(results, workspace)
    assert list(pairs) == ["mono"]
    assert [pair["distance"] for pair in pairs["mono"]] == [1, 4]
    write_report(chosen, workspace, workspace.outputs / "report", ROOT / "params.yaml")
    text = (workspace.outputs / "report" / "index.html").read_text()
    assert "2 pairs" in text
    assert "t01.png (test) and n03.png (training)" in text
