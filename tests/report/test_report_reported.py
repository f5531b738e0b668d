"""The papers' numbers on the page: for the same dataset and category, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from fake_outputs import configure, make_outputs

from adlib.config import Params
from adlib.reference import paper_results
from adlib.report.build import write_report
from adlib.report.reported import protocols, reported_rows
from adlib.report.results import Results, read_results


@pytest.fixture
def carpet(params: Params, tmp_path: Path) -> tuple[Results, Params]:
    chosen = configure(params, categories=("carpet",), methods=("patchcore", "comet-sn"))
    chosen = chosen.model_copy(update={"dataset": chosen.dataset.model_copy(update={"name": "mvtec"})})
    return read_results(chosen, make_outputs(tmp_path / "outputs", chosen, masked=("carpet",))), chosen


def test_papers_stand_beside_ours(carpet: tuple[Results, Params], tmp_path: Path):
    results, chosen = carpet
    rows = {row.metric: row for row in reported_rows(results, protocols(chosen))}
    assert set(rows) == {"image AUROC", "pixel AUROC"}
    padim = paper_results("comet", dataset="mvtec", category="carpet", method="padim", metric="image_auroc")
    assert rows["image AUROC"].papers["padim, CoMet (Aqeel et al. 2025)"] == f"{padim[0].percent:.1f}"
    assert rows["pixel AUROC"].ours == {"patchcore": "90.0", "comet-sn": "90.0"}
    write_report(chosen, tmp_path / "outputs", tmp_path / "report", ROOT / "params.yaml")
    assert "Beside the papers" in (tmp_path / "report" / "index.html").read_text()


def test_other_data_have_no_papers(carpet: tuple[Results, Params]):
    results, chosen = carpet
    assert reported_rows(replace(results, dataset="elpv"), protocols(chosen)) == []
    assert reported_rows(replace(results, categories=("leatherette",)), protocols(chosen)) == []


def test_a_metric_that_was_not_measured_is_left_out(carpet: tuple[Results, Params]):
    results, chosen = carpet
    values = results.values.copy()
    values[:, 0, ..., results.metrics.index("pixel_auroc")] = float("nan")
    rows = {row.metric: row for row in reported_rows(replace(results, values=values), protocols(chosen))}
    assert list(rows["pixel AUROC"].ours) == ["comet-sn"]


def test_an_average_stands_beside_a_whole_dataset(params: Params, tmp_path: Path):
    """VisA has 12 categories; with all of them a paper's mean is comparable, with eleven it is not."""
    names = tuple(f"c{i}" for i in range(12))
    chosen = configure(params, categories=names, methods=("patchcore", "comet-sn"), levels=(0.0,))
    chosen = chosen.model_copy(update={"dataset": chosen.dataset.model_copy(update={"name": "visa"})})
    results = read_results(chosen, make_outputs(tmp_path / "outputs", chosen))
    as_afclip = {"patchcore": "zero-shot mvtec", "comet-sn": "4-shot"}
    rows = {(row.protocol, row.metric): row for row in reported_rows(results, as_afclip)}
    assert {row.category for row in rows.values()} == {"average"}
    zero, four = rows["zero-shot mvtec", "image AUROC"], rows["4-shot", "image AUROC"]
    assert list(zero.ours) == ["patchcore"]
    assert list(four.ours) == ["comet-sn"]
    assert zero.papers["afclip, AF-CLIP (Fang et al. 2025)"] == "88.5 ± 0.0"
    assert four.papers["afclip, AF-CLIP (Fang et al. 2025)"] == "92.2 ± 1.3"
    assert zero.papers["cozad, CoZAD (Aqeel et al. 2025)"]
    fewer = replace(results, categories=names[1:], values=results.values[1:])
    assert reported_rows(fewer, as_afclip) == []


def test_protocols_are_in_the_papers_words(params: Params):
    methods = params.methods.model_copy(
        update={
            "auxiliary": ("af-tokens",),
            "af_tokens": params.methods.af_tokens.model_copy(update={"shots": (0, 2)}),
        }
    )
    auxiliary = params.auxiliary.model_copy(update={"name": "visa"})
    found = protocols(params.model_copy(update={"methods": methods, "auxiliary": auxiliary}))
    assert found["comet-sn"] == "full-shot"
    assert found["af-tokens"] == "zero-shot visa"
    assert found["af-tokens/shots-2"] == "2-shot"


def test_transductive_scores_stand_beside_no_paper(params: Params):
    zero = params.methods.cozad_zero
    zero = zero.model_copy(update={"transductive": zero.transductive.model_copy(update={"enabled": True})})
    methods = params.methods.model_copy(update={"auxiliary": ("cozad-zero",), "cozad_zero": zero})
    found = protocols(params.model_copy(update={"methods": methods}))
    assert found["cozad-zero"] == "zero-shot samples"
    assert found["cozad-zero/transductive"] == "transductive"


def test_without_masks_the_pixel_column_says_so(params: Params, tmp_path: Path):
    """HeadCT: CoZAD's Tables 1 and 2 have six competitors, and no masks are published."""
    chosen = configure(params, categories=("headct",), methods=("patchcore", "comet-sn"), levels=(0.0,))
    chosen = chosen.model_copy(update={"dataset": chosen.dataset.model_copy(update={"name": "headct"})})
    results = read_results(chosen, make_outputs(tmp_path / "outputs", chosen, masked=()))
    found = reported_rows(results, {"patchcore": "full-shot", "comet-sn": "zero-shot visa"})
    rows = {row.metric: row for row in found}
    assert list(rows) == ["image AUROC", "pixel AUROC"]
    assert list(rows["image AUROC"].ours) == ["comet-sn"]
    assert rows["pixel AUROC"].ours == {"comet-sn": "no masks"}
    assert len(rows["image AUROC"].papers) == len(rows["pixel AUROC"].papers) == 7
    assert rows["pixel AUROC"].papers["cozad, CoZAD (Aqeel et al. 2025)"].endswith("(no masks published)")
