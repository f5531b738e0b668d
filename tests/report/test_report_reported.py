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
    rows = {row.metric: row for row in reported_rows(results, chosen)}
    assert set(rows) == {"image AUROC", "pixel AUROC"}
    padim = paper_results("comet", dataset="mvtec", category="carpet", method="padim", metric="image_auroc")
    assert rows["image AUROC"].papers["padim, CoMet (Aqeel et al. 2025)"] == f"{padim[0].percent:.1f}"
    assert rows["pixel AUROC"].ours == {"patchcore": "90.0", "comet-sn": "90.0"}
    write_report(chosen, tmp_path / "outputs", tmp_path / "report", ROOT / "params.yaml")
    assert "Beside the papers" in (tmp_path / "report" / "index.html").read_text()


def test_other_data_have_no_papers(carpet: tuple[Results, Params]):
    assert reported_rows(replace(carpet[0], dataset="elpv"), carpet[1]) == []
    assert reported_rows(replace(carpet[0], categories=("leatherette",)), carpet[1]) == []


def test_a_metric_that_was_not_measured_is_left_out(carpet: tuple[Results, Params]):
    results, chosen = carpet
    values = results.values.copy()
    values[:, 0, ..., results.metrics.index("pixel_auroc")] = float("nan")
    rows = {row.metric: row for row in reported_rows(replace(results, values=values), chosen)}
    assert list(rows["pixel AUROC"].ours) == ["comet-sn"]


@pytest.mark.parametrize(
    ("dataset", "auxiliary", "masked"), [("mvtec", "visa", True), ("headct", "visa", False)]
)
def test_zero_shot_means_stand_beside_zero_shot_papers(
    params: Params, tmp_path: Path, dataset: str, auxiliary: str, masked: bool
):
    """CoZAD's Tables 1 and 2: the mean and six competitors, and "no masks" where none are published."""
    chosen = configure(params, categories=("a", "b"), methods=("simplenet", "patchcore", "comet-sn"))
    outputs = make_outputs(tmp_path, chosen, masked=("a",) if masked else ())
    results = replace(
        read_results(chosen, outputs),
        dataset=dataset,
        methods=("simplenet", "cozad-zero", "cozad-zero/transductive"),
    )
    methods = chosen.methods.model_copy(update={"auxiliary": ("cozad-zero",)})
    source = chosen.auxiliary.model_copy(update={"name": auxiliary})
    rows = reported_rows(results, chosen.model_copy(update={"methods": methods, "auxiliary": source}))
    assert [row.category for row in rows] == ["mean of 2, zero-shot visa"] * 2
    image, pixel = rows
    mean = results.over_categories().mean[0, 1, 0, results.metrics.index("image_auroc")]
    assert image.ours == {"cozad-zero": f"{100 * mean:.1f}"}
    assert len(image.papers) == len(pixel.papers) == 7
    assert pixel.ours == {"cozad-zero": "90.0" if masked else "no masks"}
    assert all(value.endswith("(no masks published)") != masked for value in pixel.papers.values())
    elsewhere = chosen.auxiliary.model_copy(update={"name": "samples"})
    assert (
        reported_rows(results, chosen.model_copy(update={"methods": methods, "auxiliary": elsewhere})) == []
    )
