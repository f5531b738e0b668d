"""The papers' numbers on the page: for the same dataset and category, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from fake_outputs import configure, make_outputs

from adlib.config import Params
from adlib.reference import paper_results
from adlib.report.build import write_report
from adlib.report.reported import reported_rows
from adlib.report.results import Results, read_results


@pytest.fixture
def carpet(params: Params, tmp_path: Path) -> tuple[Results, Params]:
    chosen = configure(params, categories=("carpet",), methods=("patchcore", "comet-sn"))
    chosen = chosen.model_copy(update={"dataset": chosen.dataset.model_copy(update={"name": "mvtec"})})
    return read_results(chosen, make_outputs(tmp_path / "outputs", chosen, masked=("carpet",))), chosen


def test_papers_stand_beside_ours(carpet: tuple[Results, Params], tmp_path: Path):
    results, chosen = carpet
    rows = {row.metric: row for row in reported_rows(results)}
    assert set(rows) == {"image AUROC", "pixel AUROC"}
    padim = paper_results("comet", dataset="mvtec", category="carpet", method="padim", metric="image_auroc")
    assert rows["image AUROC"].papers["padim, CoMet (Aqeel et al. 2025)"] == f"{padim[0].percent:.1f}"
    assert rows["pixel AUROC"].ours == {"patchcore": "90.0", "comet-sn": "90.0"}
    write_report(chosen, tmp_path / "outputs", tmp_path / "report", ROOT / "params.yaml")
    assert "Beside the papers" in (tmp_path / "report" / "index.html").read_text()


def test_other_data_have_no_papers(carpet: tuple[Results, Params]):
    assert reported_rows(replace(carpet[0], dataset="elpv")) == []
    assert reported_rows(replace(carpet[0], categories=("leatherette",))) == []


def test_a_metric_that_was_not_measured_is_left_out(carpet: tuple[Results, Params]):
    results, _ = carpet
    values = results.values.copy()
    values[:, 0, ..., results.metrics.index("pixel_auroc")] = float("nan")
    rows = {row.metric: row for row in reported_rows(replace(results, values=values))}
    assert list(rows["pixel AUROC"].ours) == ["comet-sn"]
