"""What counts as a regression: directions, tolerances, seeds, limits, and the rules they come from."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import Table, table
from scipy import stats
from toys import ROOT

from adlib.base.yaml import ParamsError
from adlib.evaluation.metrics import auroc
from adlib.gate.judge import Judgement, judge, seed_tolerances
from adlib.gate.rules import DEFAULTS, Cell, Limits, Rule, Rules, default_rules, load_rules

METRICS = st.sampled_from(["image_auroc", "image_ap", "image_fpr", "aupro_0.3"])
CELLS = st.builds(
    Cell,
    st.sampled_from(["mono", "poly"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["0", "0.1"]),
    METRICS,
)
VALUES = st.floats(0, 1)


def unknown(*_: object) -> None:
    return None


def verdicts(reference: Table, current: Table, *rules: Rule, confidence: float = 0.95) -> dict[str, str]:
    found = judge(reference, current, Rules(rules=rules, confidence=confidence), unknown)
    return {line.cell.metric: line.status for line in found}


def only(reference: Table, current: Table, *rules: Rule) -> Judgement:
    (line,) = judge(reference, current, Rules(rules=rules), unknown)
    return line


@st.composite
def tables(draw: st.DrawFn, seeds: st.SearchStrategy[int]) -> Table:
    """Several cells, all with the same seeds."""
    count = draw(seeds)
    values = st.lists(VALUES, min_size=count, max_size=count)
    return {
        cell: dict(enumerate(draw(values)))
        for cell in draw(st.lists(CELLS, min_size=1, max_size=6, unique=True))
    }


@given(tables(st.integers(1, 4)))
def test_a_result_passes_against_itself(values: Table):
    assert {line.status for line in judge(values, values, Rules(), unknown)} == {"same"}


@given(tables(st.integers(1, 4)), st.data())
def test_a_loss_beyond_the_tolerance_fails_and_a_smaller_one_does_not(values: Table, data: st.DataObject):
    """Of one cell, by every seed alike; the other side of the tolerance is a pass."""
    cell = data.draw(st.sampled_from(sorted(values)))
    limits = Rules().limits(cell)
    for loss, status in ((limits.absolute * 1.01, "regressed"), (limits.absolute * 0.99, "same")):
        moved = {seed: value - limits.sign * loss for seed, value in values[cell].items()}
        found = {line.cell: line for line in judge(values, values | {cell: moved}, Rules(), unknown)}
        assert found.pop(cell).status == status
        assert {line.status for line in found.values()} <= {"same"}


@given(tables(st.just(1)), tables(st.just(1)))
def test_what_is_better_one_way_is_worse_the_other(a: Table, b: Table):
    there = {line.cell: line.status for line in judge(a, b, Rules(), unknown)}
    back = {line.cell: line.status for line in judge(b, a, Rules(), unknown)}
    mirror = {"regressed": "better", "better": "regressed", "missing": "new", "new": "missing"}
    assert back == {cell: mirror.get(status, status) for cell, status in there.items()}


def test_direction():
    assert verdicts(table({"image_fpr": 0.1}), table({"image_fpr": 0.2})) == {"image_fpr": "regressed"}
    assert verdicts(table({"image_fpr": 0.2}), table({"image_fpr": 0.1})) == {"image_fpr": "better"}
    assert verdicts(table({"image_ap": 0.1}), table({"image_ap": 0.2})) == {"image_ap": "better"}


def test_a_loss_of_exactly_the_tolerance_passes():
    assert only(table({"image_ap": 0.9}), table({"image_ap": 0.89})).status == "same"
    assert only(table({"image_ap": 0.9}), table({"image_ap": 0.889999})).status == "regressed"


def test_relative_tolerance_is_a_fraction_of_the_reference():
    rule = Rule(relative=0.1, absolute=0.0)
    assert only(table({"image_ap": 0.5}), table({"image_ap": 0.451}), rule).status == "same"
    line = only(table({"image_ap": 0.5}), table({"image_ap": 0.449}), rule)
    assert (line.status, line.tolerance, line.basis) == ("regressed", 0.05, "rule")
    assert only(table({"image_ap": 0.1}), table({"image_ap": 0.085}), rule).status == "regressed"


@pytest.mark.parametrize(
    ("metric", "rule", "value", "status"),
    [
        ("image_ap", Rule(floor=0.8), 0.8, "same"),
        ("image_ap", Rule(floor=0.8), 0.799, "beyond limit"),
        ("image_fpr", Rule(ceiling=0.3), 0.3, "same"),
        ("image_fpr", Rule(ceiling=0.3), 0.301, "beyond limit"),
        ("image_ap", Rule(floor=0.8, judge=False), 0.1, "not judged"),
    ],
)
def test_limits_hold_whatever_the_reference(metric: str, rule: Rule, value: float, status: str):
    same = table({metric: value})
    assert only(same, same, rule).status == status


def test_a_floor_binds_new_results_too():
    found = verdicts(table({"image_ap": 0.9}), table({"image_ap": 0.9, "image_auroc": 0.7}), Rule(floor=0.8))
    assert found == {"image_ap": "same", "image_auroc": "beyond limit"}


@pytest.mark.parametrize("change", [{"method": "simplenet"}, {"category": "poly"}, {"noise": "0.1"}])
def test_missing_fails_and_new_is_listed(change: dict[str, str]):
    less = table({"image_ap": 0.9})
    more = less | table({"image_ap": 0.8}, **change)
    assert [line.status for line in judge(more, less, Rules(), unknown)] == ["missing", "same"]
    assert [line.status for line in judge(less, more, Rules(), unknown)] == ["same", "new"]
    rule = Rule.model_validate(
        {"judge": False} | {k: float(v) if k == "noise" else v for k, v in change.items()}
    )
    found = judge(more, less, Rules(rules=(rule,)), unknown)
    assert [line.status for line in found] == ["same", "not judged"]


def test_the_worst_comes_first():
    reference = table({"image_ap": 0.9, "image_auroc": 0.9, "image_f1max": 0.9, "aupro_0.3": 0.9})
    current = table({"image_ap": 0.87, "image_auroc": 0.8, "image_f1max": 0.95})
    found = judge(reference, current, Rules(), unknown)
    assert [(line.cell.metric, line.status) for line in found] == [
        ("image_auroc", "regressed"),
        ("image_ap", "regressed"),
        ("aupro_0.3", "missing"),
        ("image_f1max", "better"),
    ]


def test_seed_tolerance_by_hand():
    """Two cells of one family, other seeds: pooled variance, four degrees of freedom, Bonferroni over two."""
    a = table({"image_ap": [0.90, 0.92]}) | table({"image_ap": [0.80, 0.80]}, category="poly")
    b = table({"image_ap": [0.84, 0.84]}, seeds=[2, 3])
    b |= table({"image_ap": [0.70, 0.74]}, category="poly", seeds=[2, 3])
    mono, poly = a
    found = seed_tolerances({cell: (a[cell], b[cell]) for cell in a}, 0.05 / 2)
    own = {mono: 0.0002 / 2, poly: 0.0008 / 2}
    pooled = (0.0002 + 0.0008) / 4
    for cell in a:
        expected = stats.t.ppf(1 - 0.025, 4) * math.sqrt(max(own[cell], pooled))  # 1 / 2 + 1 / 2 = 1
        assert found[cell] == pytest.approx(expected)


def test_the_same_seeds_are_paired():
    """Every seed loses 0.02: no seed spread excuses that, large as it is."""
    before = [0.80, 0.95, 0.70]
    paired = only(table({"image_ap": before}), table({"image_ap": [v - 0.02 for v in before]}))
    assert (paired.status, paired.basis) == ("regressed", "rule")
    other = table({"image_ap": [v - 0.02 for v in before]}, seeds=[3, 4, 5])
    line = only(table({"image_ap": before}), other)
    assert (line.status, line.basis) == ("same", "seeds")


def test_one_side_with_seeds_lends_its_spread_to_the_other():
    several = table({"image_ap": [0.90, 0.86, 0.94, 0.88, 0.92]})
    line = only(several, table({"image_ap": 0.86}, seeds=[9]))
    assert (line.status, line.basis) == ("same", "seeds")
    assert only(several, table({"image_ap": 0.6}, seeds=[9])).status == "regressed"


def test_confidence_holds_for_the_gate_as_a_whole():
    """An unchanged project, drawn anew 400 times: the gate fails for at most 5 % of the draws."""
    rng = np.random.default_rng(0)
    cells = [Cell(c, "m", n, k) for c in "xyz" for n in ("0", "0.1") for k in ("image_ap", "image_auroc")]
    strict = Rules(rules=(Rule(absolute=0.0),))
    failures = 0
    for _ in range(400):
        sides = [
            {cell: {first + i: float(v) for i, v in enumerate(rng.normal(0.9, 0.01, 3))} for cell in cells}
            for first in (0, 3)
        ]
        failures += any(line.failed for line in judge(*sides, strict, unknown))
    assert failures / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_single_seeds_ask_the_test_images_only_where_the_verdict_hangs_on_it():
    asked = []

    def error(cell: Cell, a: int, b: int) -> float:
        asked.append((cell.metric, a, b))
        return 0.01

    reference = table({"image_ap": 0.9, "image_auroc": 0.9})
    current = table({"image_ap": 0.895, "image_auroc": 0.885}, seeds=[4])
    found = {line.cell.metric: line for line in judge(reference, current, Rules(), error)}
    assert asked == [("image_auroc", 0, 4)]
    line = found["image_auroc"]
    assert (line.status, line.basis) == ("same", "images")
    assert line.tolerance == pytest.approx(stats.norm.ppf(1 - 0.05 / 2) * 0.01)


def test_later_rules_override_earlier_ones():
    rules = Rules(
        rules=(
            Rule(absolute=0.1),
            Rule(metric="image_*", absolute=0.2),
            Rule(method="patch*", noise=0.1, relative=0.5),
            Rule(category="mono", better="lower"),
        )
    )
    assert rules.limits(Cell("poly", "simplenet", "0", "aupro_0.3")) == Limits(absolute=0.1)
    assert rules.limits(Cell("poly", "patchcore", "0.1", "image_ap")) == Limits(absolute=0.2, relative=0.5)
    assert rules.limits(Cell("mono", "simplenet", "0.1", "image_ap")) == Limits(absolute=0.2, better="lower")


def test_rules_that_match_nothing_are_told():
    (rule,) = Rules(rules=(Rule(metric="image_aurco", floor=0.9),)).unused(
        [Cell("m", "p", "0", "image_auroc")]
    )
    assert str(rule) == "metric: image_aurco, floor: 0.9"


def test_defaults():
    assert default_rules().confidence == Rules().confidence
    assert Rules().limits(Cell("m", "p", "0", "image_auroc")) == Limits(absolute=0.01)
    assert Rules().limits(Cell("m", "p", "0", "image_fpr95")).better == "lower"
    assert load_rules(ROOT / "gate.yaml") == Rules()
    shipped = [line.strip() for line in DEFAULTS.read_text().splitlines() if line.startswith("  - {")]
    assert shipped
    shown = (ROOT / "gate.yaml").read_text()
    assert [rule for rule in shipped if f"#   {rule}\n" not in shown] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [{metric: image_ap, absolut: 0.1}]", "rules.0.absolut: unknown key; allowed here: metric, "),
        ("rules: [{metric: image_ap, absolut: 0.1}]", "did you mean 'absolute'?"),
        ("ruls: []", "ruls: unknown key; allowed here: confidence, rules; did you mean 'rules'?"),
        ("rules: [{absolute: -0.1}]", "rules.0.absolute: should be greater than or equal to 0, got -0.1"),
        ("rules: [{better: up}]", "rules.0.better: should be 'higher' or 'lower', got 'up'"),
        ("rules: [{floor: .nan}]", "rules.0.floor: "),
        ("rules: [{metric: image_ap}]", "rules.0: sets nothing; give it one of better, absolute, "),
        ("confidence: 1", "confidence: should be less than 1, got 1"),
        ("rules: [", "not valid YAML"),
        ("", "the file: "),
    ],
)
def test_rules_that_do_not_fit(tmp_path: Path, text: str, message: str):
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError) as caught:
        load_rules(path)
    assert message in str(caught.value)


def test_rules_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ParamsError, match="No such file"):
        load_rules(tmp_path / "none.yaml")


def test_paired_error_of_the_auroc_is_delongs_and_that_of_other_metrics_agrees():
    """The bootstrap's error of the AUROC itself, asked for under another name, is close to DeLong's."""
    from adlib.gate import pairs as images

    rng = np.random.default_rng(0)
    labels = np.arange(200) < 80
    ids = tuple(map(str, range(200)))
    first = labels + rng.normal(0, 1, 200)
    second = first + rng.normal(0, 0.5, 200)
    none = np.empty(0)
    a, b = (images.FitImages(ids, labels, scores, none, None, None) for scores in (first, second))
    exact = images.paired_error(Cell("m", "p", "0", "image_auroc"), a, b)
    assert exact is not None
    assert 0 < exact < 0.05
    ap = images.paired_error(Cell("m", "p", "0", "image_ap"), a, b)
    assert ap is not None
    assert 0.3 * exact < ap < 3 * exact
    assert ap == images.paired_error(Cell("m", "p", "0", "image_ap"), a, b)
    assert images.paired_error(Cell("m", "p", "0", "aupro_0.3"), a, b) is None
    other = images.FitImages(ids[::-1], labels, second, none, None, None)
    assert images.paired_error(Cell("m", "p", "0", "image_auroc"), a, other) is None
    assert auroc(first, labels) != auroc(second, labels)
