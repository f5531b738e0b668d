"""The papers' tables against numbers read off the papers by eye, and against each other."""

import math
from collections import defaultdict

import pytest

from adlib.papers.tables import FOLDER, PAPERS, PaperResult, paper_results


def percent(**wanted) -> float:
    (found,) = paper_results(**wanted)
    return found.percent


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"table": 1, "category": "metal_nut", "method": "comet-nf", "metric": "image_auroc"}, 99.7),
        ({"table": 1, "category": "tile", "method": "comet-sn", "metric": "pixel_auroc"}, 94.1),
        ({"table": 1, "category": "average", "method": "comet-sn", "metric": "image_auroc"}, 99.7),
        ({"table": 2, "category": "Saw Blade", "method": "simplenet", "metric": "pixel_auroc"}, 89.7),
        ({"table": 2, "category": "average", "method": "comet-nf", "metric": "image_auroc"}, 83.5),
        ({"table": 3, "method": "mld-ir", "metric": "pixel_auroc"}, 92.6),
        ({"table": 4, "dataset": "ksdd2", "method": "comet-sn", "metric": "image_recall"}, 70.3),
        ({"table": 5, "method": "comet-sn", "setting": "CoMet w/o SCL on Data"}, 99.5),
    ],
)
def test_comet_by_eye(wanted: dict, expected: float):
    assert percent(paper="comet", protocol="full-shot", **wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"table": 1, "dataset": "btad", "method": "cozad"}, 97.2),
        ({"table": 1, "dataset": "visa", "method": "bayes-pfl"}, 87.0),
        ({"table": 2, "dataset": "rsdd", "method": "april-gan"}, 99.4),
        ({"table": 2, "dataset": "br35h", "method": "cozad"}, 79.9),
        ({"table": 3, "dataset": "mvtec", "setting": "+ Meta-Learning"}, 92.6),
        ({"table": 4, "dataset": "visa", "setting": "Hard CL (remove samples)"}, 83.1),
        ({"table": 5, "dataset": "mvtec", "setting": "k_nn = 10"}, 92.3),
        ({"table": 6, "dataset": "visa", "setting": "3rd + 4th layers", "metric": "pixel_auroc"}, 95.3),
        ({"table": 7, "dataset": "visa", "setting": "SCL + Contrastive"}, 82.1),
    ],
)
def test_cozad_by_eye(wanted: dict, expected: float):
    assert percent(paper="cozad", **wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"table": 1, "dataset": "visa", "method": "afclip", "metric": "image_auroc"}, 88.5),
        ({"table": 1, "dataset": "kvasir", "method": "adaclip", "metric": "aupro_0.3"}, 41.3),
        ({"table": 1, "dataset": "dagm", "method": "vand", "metric": "image_ap"}, 83.8),
        (
            {"table": 2, "dataset": "mvtec", "method": "afclip", "protocol": "4-shot", "metric": "aupro_0.3"},
            93.8,
        ),
        (
            {"table": 2, "dataset": "visa", "method": "iipad", "protocol": "1-shot", "metric": "image_ap"},
            87.5,
        ),
        ({"table": 3, "method": "regad", "metric": "pixel_auroc"}, 96.7),
        ({"table": 3, "method": "differnet"}, 87.3),
        ({"table": 4, "dataset": "visa", "setting": "V2", "metric": "pixel_auroc"}, 94.7),
        ({"table": 4, "dataset": "mvtec", "setting": "base", "metric": "pixel_auroc"}, 20.0),
        ({"table": 5, "dataset": "visa", "setting": "LoRA", "metric": "image_auroc"}, 85.7),
        (
            {
                "table": 6,
                "dataset": "mvtec",
                "setting": "without the alignment loss",
                "metric": "pixel_auroc",
            },
            91.8,
        ),
    ],
)
def test_afclip_by_eye(wanted: dict, expected: float):
    assert percent(paper="afclip", **wanted) == expected


def test_afclip_has_the_spread_of_its_draws():
    found = paper_results("afclip", table=2, dataset="visa", method="afclip", metric="image_auroc")
    shown = [(one.protocol, one.percent, one.spread) for one in found]
    assert shown == [
        ("zero-shot mvtec", 88.5, 0.0), ("1-shot", 90.5, 2.1), ("2-shot", 91.2, 1.4), ("4-shot", 92.2, 1.3),
    ]  # fmt: skip
    assert paper_results("afclip", table=2, method="iipad")[0].spread is None
    assert all(one.spread is None for one in paper_results("comet"))


def test_afclips_tables_agree_or_are_marked():
    """The same method, data, metric and protocol in two tables; a table's last row is the method itself."""
    known: dict[tuple, PaperResult] = {}
    whole = ("", "V4", "Adaptor", "with the alignment loss")
    for one in paper_results("afclip"):
        if one.setting in whole:
            first = known.setdefault((one.method, one.dataset, one.metric, one.protocol), one)
            assert one.percent == first.percent or one.note.startswith("doubtful"), one
    marked = {(one.table, one.method) for one in paper_results("afclip") if one.note.startswith("doubtful")}
    assert marked == {(1, "winclip"), (2, "simclip"), (2, "anomalygpt"), (4, "afclip")}


def test_every_table_is_there_and_whole():
    """Rows times columns of the printed tables; a dash in the print is no number."""
    counts: dict[tuple[str, int], int] = defaultdict(int)
    for result in paper_results():
        counts[result.paper, result.table] += 1
    # Table 1 has no pixel column for CSFlow, Table 2 for its first four methods, Table 3 for its first three.
    assert counts == {
        ("comet", 1): 16 * (8 + 7), ("comet", 2): 12 * (8 + 4), ("comet", 3): 8 + 5, ("comet", 4): 36,
        ("comet", 5): 10, ("cozad", 1): 70, ("cozad", 2): 70, ("cozad", 3): 8, ("cozad", 4): 10,
        ("cozad", 5): 12, ("cozad", 6): 16, ("cozad", 7): 16, ("afclip", 1): 16 * 6 * 2,
        ("afclip", 2): (6 + 3 * 5) * 8 + 3 * 4, ("afclip", 3): 22, ("afclip", 4): 40, ("afclip", 5): 16,
        ("afclip", 6): 8,
    }  # fmt: skip


def test_averages_agree_with_their_rows_or_are_marked():
    groups: dict[tuple, list[PaperResult]] = defaultdict(list)
    for result in paper_results("comet"):
        if result.table in (1, 2):
            groups[result.table, result.method, result.metric].append(result)
    for group in groups.values():
        (average,) = (result for result in group if result.category == "average")
        rows = [result.percent for result in group if result.category != "average"]
        off = abs(sum(rows) / len(rows) - average.percent) > 0.06  # rounding of the rows and of the mean
        assert off == average.note.startswith("doubtful"), average


def test_f1_agrees_with_precision_and_recall():
    for f1 in paper_results("comet", table=4, metric="image_f1"):
        p, r = (
            percent(paper="comet", table=4, dataset=f1.dataset, method=f1.method, metric=f"image_{name}")
            for name in ("precision", "recall")
        )
        assert math.isclose(2 * p * r / (p + r), f1.percent, abs_tol=0.11)


def test_ablations_end_at_the_full_method_of_the_main_table():
    for dataset in ("mvtec", "visa"):
        full = percent(paper="cozad", table=1, dataset=dataset, method="cozad")
        for table, setting in ((3, "+ Contrastive Learning (CoZAD)"), (4, "Full CoZAD"), (7, "Full CoZAD")):
            assert percent(paper="cozad", table=table, dataset=dataset, setting=setting) == full


def test_sets_without_masks_say_so():
    marked = {r.dataset for r in paper_results(metric="pixel_auroc") if "no masks" in r.note}
    assert marked == {"headct", "brainmri", "br35h"}


def test_values_are_fractions_and_no_row_is_told_twice():
    results = paper_results()
    assert all(0 < result.value <= 1 for result in results)
    assert len(
        {
            (r.paper, r.table, r.dataset, r.category, r.method, r.setting, r.metric, r.protocol)
            for r in results
        }
    ) == (len(results))


def test_unknown_paper():
    with pytest.raises(ValueError, match="paper: must be one of comet, cozad, afclip, got 'x'"):
        paper_results("x")


def test_every_paper_has_a_file_and_every_file_a_paper():
    assert {file.stem for file in FOLDER.glob("*.csv")} == set(PAPERS)
