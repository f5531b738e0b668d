"""The array of results, its statistics by hand, and the two files that git tracks."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_outputs import configure, make_outputs

from adlib.base.errors import UserError
from adlib.base.files import read_json, write_json
from adlib.base.tables import read_csv
from adlib.config.workspace import Workspace
from adlib.report.results import Results, read_results, write_results


def small(values: np.ndarray) -> Results:
    """Two categories, one method, one level, two seeds, two metrics."""
    return Results("d", ("a", "b"), ("m",), (0.1,), (0, 1), ("image_auroc", "pixel_auroc"), values)


NAN = float("nan")
VALUES = np.array([[[[[0.8, 0.5], [0.9, 0.7]]]], [[[[0.6, NAN], [0.6, NAN]]]]])


def test_mean_and_spread_are_over_seeds():
    results = small(VALUES)
    np.testing.assert_allclose(results.mean[:, 0, 0], [[0.85, 0.6], [0.6, NAN]])
    assert results.spread is not None
    np.testing.assert_allclose(results.spread[0, 0, 0], [0.05 * 2**0.5, 0.1 * 2**0.5])


def test_one_seed_has_no_spread():
    assert replace(small(VALUES[..., :1, :]), seeds=(0,)).spread is None


def test_shots_are_a_column_only_where_a_method_has_some(tmp_path: Path):
    values = VALUES[:, :, :, :1, :1].repeat(2, axis=1)
    plain = replace(small(values), methods=("m", "n"), seeds=(0,), metrics=("image_auroc",))
    write_results(tmp_path, plain)
    assert list(read_csv(tmp_path / "results.csv")[0]) == [
        "dataset", "category", "method", "noise", "seed", "metric", "value",
    ]  # fmt: skip
    write_results(tmp_path, replace(plain, methods=("m", "m/shots-4")))
    rows = read_csv(tmp_path / "results.csv")
    assert list(rows[0]) == ["dataset", "category", "method", "shots", "noise", "seed", "metric", "value"]
    assert [(row["method"], row["shots"]) for row in rows] == [("m", "0"), ("m", "4")] * 2


def test_categories_are_averaged_seed_by_seed_where_they_have_the_metric():
    overall = small(VALUES).over_categories()
    np.testing.assert_allclose(overall.values[0, 0, 0], [[0.7, 0.5], [0.75, 0.7]])
    assert overall.categories == ("Mean over 2 categories",)


def test_a_metric_that_no_category_has_stays_undefined_without_a_warning():
    values = VALUES.copy()
    values[..., 1] = NAN
    assert np.isnan(small(values).over_categories().values[..., 1]).all()


def test_csv_has_the_documented_header_and_order(params, tmp_path: Path):
    chosen = configure(params, levels=(0.1, 0.0), seeds=(1, 0))
    results = read_results(chosen, make_outputs(tmp_path / "outputs", chosen, masked=("poly",)))
    write_results(tmp_path, results)
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert lines[0] == "dataset,category,method,noise,seed,metric,value"
    rows = [line.split(",") for line in lines[1:]]
    metrics = ["image_auroc", "image_ap", "image_f1max"]
    pixel = {"mono": [], "poly": ["pixel_auroc", "aupro_0.3"]}
    assert [row[:6] for row in rows] == [
        ["elpv", category, method, noise, seed, metric]
        for category in ("mono", "poly")
        for method in ("simplenet", "patchcore")
        for noise in ("0.1", "0")
        for seed in ("1", "0")
        for metric in metrics + pixel[category]
    ]
    assert all(len(row[6].partition(".")[2]) == 6 for row in rows)


def test_csv_values_are_those_of_the_evaluation(params, tmp_path: Path):
    chosen = configure(params)
    write_results(tmp_path, read_results(chosen, make_outputs(tmp_path / "outputs", chosen)))
    rows = [r for r in read_csv(tmp_path / "results.csv") if r["category"] + r["method"] == "polypatchcore"]
    entries = read_json(tmp_path / "outputs/evaluation/poly/patchcore/metrics.json")["metrics"]
    expected = {(f"{e['noise']:g}", str(e["seed"]), e["metric"]): f"{e['value']:.6f}" for e in entries}
    assert {(r["noise"], r["seed"], r["metric"]): r["value"] for r in rows} == expected


def test_summary_is_nested_and_a_mean_over_seeds(params, tmp_path: Path):
    chosen = configure(params, seeds=(3, 5))
    results = read_results(chosen, make_outputs(tmp_path / "outputs", chosen))
    write_results(tmp_path, results)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary) == ["simplenet", "patchcore"]
    assert list(summary["patchcore"]["poly"]) == ["0", "0.1"]
    wanted = {"category": "poly", "method": "patchcore", "noise": "0.1", "metric": "image_ap"}
    rows = [row for row in read_csv(tmp_path / "results.csv") if wanted.items() <= row.items()]
    assert [row["seed"] for row in rows] == ["3", "5"]
    found = summary["patchcore"]["poly"]["0.1"]["image_ap"]
    assert found == pytest.approx(sum(float(row["value"]) for row in rows) / 2, abs=1e-6)
    assert found == round(found, 6)


def test_both_files_are_the_same_bytes_in_another_folder(params, tmp_path: Path):
    chosen = configure(params)
    make_outputs(tmp_path / "here" / "outputs", chosen)
    shutil.copytree(tmp_path / "here" / "outputs", tmp_path / "else where" / "outputs")
    for folder in ("here", "else where"):
        write_results(tmp_path / folder, read_results(chosen, Workspace(tmp_path / folder / "outputs")))
    for name in ("results.csv", "summary.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "else where" / name).read_bytes()


def test_outputs_that_params_no_longer_name_are_not_counted(params, tmp_path: Path):
    methods = ("simplenet", "patchcore", "comet-sn")
    wide = configure(params, categories=("mono", "poly", "old"), methods=methods)
    workspace = make_outputs(tmp_path / "outputs", wide)
    narrow = configure(params, categories=("mono",), levels=(0.1,), seeds=(1,))
    results = read_results(narrow, workspace)
    assert {row[1] for row in results.rows()} == {"mono"}
    assert {row[2] for row in results.rows()} == {"simplenet", "patchcore"}
    assert {row[3:5] for row in results.rows()} == {("0.1", "1")}


def test_a_missing_evaluation_says_what_to_run(params, tmp_path: Path):
    chosen = configure(params)
    workspace = make_outputs(tmp_path / "outputs", chosen)
    shutil.rmtree(workspace.outputs / "evaluation" / "poly" / "patchcore")
    with pytest.raises(UserError, match=r"poly/patchcore/metrics\.json: no such file.*dvc repro"):
        read_results(chosen, workspace)


@pytest.mark.parametrize(("key", "value", "place"), [("noise", 0.1, "noise 0.1, seed 0"), ("seed", 1, "1")])
def test_a_missing_level_or_seed_says_which(params, tmp_path: Path, key: str, value: float, place: str):
    chosen = configure(params)
    workspace = make_outputs(tmp_path / "outputs", chosen)
    path = workspace.outputs / "evaluation" / "mono" / "simplenet" / "metrics.json"
    found = read_json(path)
    write_json(path, found | {"metrics": [entry for entry in found["metrics"] if entry[key] != value]})
    with pytest.raises(UserError, match=rf"mono/simplenet/metrics\.json: nothing at .*{place}.*dvc repro"):
        read_results(chosen, workspace)
