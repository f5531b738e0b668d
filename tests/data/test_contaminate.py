"""Contaminated training sets: how many anomalies, from where, and a test set that never moves."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib.data.contaminate import added_anomalies, contaminate, draw_reserve
from adlib.data.manifest import DataError, Label, Sample
from adlib.data.splits import Splits, TrainingSet, read_splits, write_splits

DEFAULTS: dict[str, Any] = {"levels": [0.0], "seeds": [0], "reserve": 0.4, "overlap": False, "split_seed": 0}
defects = st.dictionaries(
    st.sampled_from(["crack", "dent", "hole", "scratch"]), st.integers(1, 30), min_size=1
)
reserves = st.sampled_from([0.0, 0.1, 0.25, 0.29, 0.3, 0.4, 0.5])
sizes = st.integers(1, 80)
seeds = st.integers(0, 3)


def dataset(
    normals: int, anomalies: Mapping[str, int], tested: int = 5
) -> tuple[list[Sample], dict[str, Label]]:
    """A manifest with ids that, like hashes, tell nothing."""
    kinds = [("train", "good")] * normals + [("test", "good")] * tested
    kinds += [("test", defect) for defect, count in anomalies.items() for _ in range(count)]
    ids = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(len(kinds))]
    samples = [Sample(id, f"{id}.png", split) for id, (split, _) in zip(ids, kinds, strict=True)]  # pyright: ignore[reportArgumentType]
    labels = {id: Label(id, defect, "", "") for id, (_, defect) in zip(ids, kinds, strict=True)}
    return sorted(samples, key=lambda sample: sample.id), labels


def split(normals: int, anomalies: Mapping[str, int], **changes: Any) -> tuple[Splits, dict[str, Label]]:
    samples, labels = dataset(normals, anomalies)
    return contaminate(samples, labels, **DEFAULTS | changes), labels


def anomalous(ids: tuple[str, ...], labels: Mapping[str, Label]) -> set[str]:
    return {id for id in ids if labels[id].anomalous}


def largest_level(normals: int, anomalies: Mapping[str, int], reserve: float) -> float:
    _, labels = dataset(normals, anomalies)
    pool = len(draw_reserve([label for label in labels.values() if label.anomalous], reserve, 0))
    return pool / (normals + pool)


def test_by_hand():
    """90 normals at 10 %: 10 of 100 are anomalous. 250 at 10 %: 27.8, so 28."""
    assert added_anomalies(0.1, 90) == 10
    assert added_anomalies(0.1, 250) == 28
    assert added_anomalies(0.0, 250) == 0
    splits, labels = split(90, {"crack": 30}, levels=[0.0, 0.1])
    clean, noisy = splits.training_sets
    assert (len(clean.ids), len(noisy.ids)) == (90, 100)
    assert len(anomalous(noisy.ids, labels)) == 10
    assert len(splits.test) == 5 + 18, "0.4 of 30 anomalies are the reserve"


@given(sizes, defects, reserves, st.booleans(), st.lists(st.floats(0, 1), min_size=1, max_size=4), seeds)
def test_training_sets(
    normals: int, anomalies: dict[str, int], reserve: float, overlap: bool, shares: list[float], seed: int
):
    top = largest_level(normals, anomalies, reserve)
    levels = [share * top for share in shares]
    splits, labels = split(
        normals, anomalies, levels=levels, seeds=[seed, seed + 1], reserve=reserve, overlap=overlap
    )
    always = {id for id, label in labels.items() if not label.anomalous} - set(splits.test)
    assert [(s.seed, s.noise) for s in splits.training_sets] == [
        (seed + step, level) for step in (0, 1) for level in levels
    ]
    for training_set in splits.training_sets:
        injected = anomalous(training_set.ids, labels)
        level = training_set.noise
        assert len(injected) == round(level / (1 - level) * normals)
        assert set(training_set.ids) - injected == always
        assert len(always) == normals
        assert list(training_set.ids) == sorted(set(training_set.ids)), "the order tells nothing"
        assert injected.isdisjoint(splits.test) or overlap
    for lower in splits.training_sets:
        for higher in splits.training_sets:
            if lower.seed == higher.seed and lower.noise <= higher.noise:
                assert set(lower.ids) <= set(higher.ids), "levels are nested"


@given(sizes, defects, reserves, seeds, seeds)
def test_the_test_set_never_moves(
    normals: int, anomalies: dict[str, int], reserve: float, seed: int, split_seed: int
):
    top = largest_level(normals, anomalies, reserve)
    fixed = {"reserve": reserve, "split_seed": split_seed}
    clean, labels = split(normals, anomalies, **fixed)
    noisy, _ = split(normals, anomalies, levels=[top, top / 2], seeds=[seed + 1, seed], **fixed)
    assert noisy.test == clean.test
    assert list(clean.test) == sorted(set(clean.test))
    assert anomalous(clean.test, labels), "something is left to find"
    assert len(set(clean.test) - anomalous(clean.test, labels)) == 5
    overlapping, _ = split(normals, anomalies, overlap=True, **fixed)
    everything = {id for id, label in labels.items() if label.anomalous}
    assert anomalous(overlapping.test, labels) == everything
    assert overlapping.overlap
    assert not clean.overlap


@given(defects, reserves, seeds)
def test_the_reserve_is_stratified(anomalies: dict[str, int], reserve: float, seed: int):
    _, labels = dataset(0, anomalies, tested=0)
    drawn = draw_reserve(list(labels.values()), reserve, seed)
    shares = Counter(labels[id].defect for id in drawn)
    assert len(set(drawn)) == len(drawn) <= reserve * sum(anomalies.values())
    for defect, size in anomalies.items():
        assert shares[defect] <= size / 2
        assert abs(shares[defect] - reserve * size) < 1
    reversed_order = draw_reserve(list(labels.values())[::-1], reserve, seed)
    assert sorted(reversed_order) == sorted(drawn)


def test_the_reserve_by_hand():
    """A fraction of 0.3 of 5 + 3 + 2 is 3: 1 + 0 + 0 and the largest remainders, .9 and .6, get the rest."""
    _, labels = dataset(0, {"a": 5, "b": 3, "c": 2}, tested=0)
    shares = Counter(labels[id].defect for id in draw_reserve(list(labels.values()), 0.3, 0))
    assert shares == {"a": 1, "b": 1, "c": 1}


def test_another_split_seed_is_another_reserve():
    reserves = {split(10, {"crack": 40}, split_seed=seed)[0].test for seed in range(3)}
    assert len(reserves) == 3


def test_another_seed_injects_others():
    splits, labels = split(40, {"crack": 40}, levels=[0.1], seeds=[0, 1])
    first, second = (anomalous(training_set.ids, labels) for training_set in splits.training_sets)
    assert len(first) == len(second)
    assert first != second


def test_an_added_level_or_seed_changes_no_other_set():
    few, _ = split(60, {"crack": 40}, levels=[0.1], seeds=[1])
    many, _ = split(60, {"crack": 40}, levels=[0.2, 0.1, 0.0], seeds=[0, 1])
    assert few.training_sets[0] in many.training_sets


@given(sizes, defects, reserves, st.floats(0.01, 0.99))
def test_the_largest_possible_level_works(
    normals: int, anomalies: dict[str, int], reserve: float, level: float
):
    try:
        split(normals, anomalies, levels=[0.0, level], reserve=reserve)
    except DataError as error:
        message = str(error)
        assert (
            f"noise.levels: {level:g} adds {added_anomalies(level, normals)} anomalies to {normals}"
            in message
        )
        (largest,) = re.findall(r"the largest possible level is ([0-9.e-]+) \(", message)
        split(normals, anomalies, levels=[float(largest)], reserve=reserve)
        assert float(largest) < level
        assert float(largest) > largest_level(normals, anomalies, reserve) - 0.002


def test_a_level_that_is_too_high():
    with pytest.raises(
        DataError, match=r"0.5 adds 100 anomalies to 100 normal images, but the reserve holds 4; "
    ):
        split(100, {"crack": 10}, levels=[0.0, 0.5, 0.01])


def test_names_of_training_sets():
    assert [TrainingSet(level, 3, ()).name for level in (0.0, 0.1, 0.125)] == [
        "noise-0_seed-3",
        "noise-0.1_seed-3",
        "noise-0.125_seed-3",
    ]


def calibrated(**changes: Any) -> tuple[Splits, dict[str, Label]]:
    """30 of 120 normals calibrate; the reserve holds 16 of 40 anomalies."""
    samples, labels = dataset(120, {"crack": 40})
    normals = [sample for sample in samples if not labels[sample.id].anomalous and sample.split == "train"]
    aside = {sample.id for sample in normals[:30]}
    moved = [replace(s, split="calibration") if s.id in aside else s for s in samples]
    return contaminate(moved, labels, **DEFAULTS | changes), labels


def test_calibration_images_are_apart_and_clean():
    splits, labels = calibrated(levels=[0.0, 0.1], seeds=[0, 1])
    for training_set in splits.training_sets:
        assert len(training_set.calibration) == 30
        assert list(training_set.calibration) == sorted(training_set.calibration)
        assert not anomalous(training_set.calibration, labels)
        assert set(training_set.calibration).isdisjoint({*training_set.ids, *splits.test})


def test_dirty_calibration_images_by_hand():
    """A tenth of the calibration images: 3 added to 30. Neither the training nor the test sets move."""
    clean, _ = calibrated(levels=[0.0, 0.1], seeds=[0, 1])
    dirty, labels = calibrated(levels=[0.0, 0.1], seeds=[0, 1], contamination=0.1)
    assert dirty.test == clean.test
    for before, after in zip(clean.training_sets, dirty.training_sets, strict=True):
        assert after.ids == before.ids
        assert set(before.calibration) < set(after.calibration)
        assert len(anomalous(after.calibration, labels)) == 3
        assert set(after.calibration).isdisjoint({*after.ids, *dirty.test})
    assert len({s.calibration for s in dirty.training_sets}) == 2, "one draw a seed"


def test_more_dirt_than_the_reserve_holds():
    with pytest.raises(DataError, match=r"threshold.contamination: adds 30 .* reserve holds 16; lower it"):
        calibrated(contamination=0.5)
    with pytest.raises(
        DataError, match=r"holds 13 besides 3 for threshold.contamination; the largest .* 0.126"
    ):
        calibrated(levels=[0.15], contamination=0.1)


def test_json_round_trip(tmp_path: Path):
    splits, _ = split(20, {"crack": 20, "hole": 3}, levels=[0.0, 0.05, 1 / 7], seeds=[0, 2], overlap=True)
    calibrating, _ = calibrated()
    for written in (splits, calibrating):
        write_splits(tmp_path / "x.json", written)
        assert read_splits(tmp_path / "x.json") == written


def test_excluded_images_train_nothing_and_change_no_other_draw():
    before, labels = split(90, {"crack": 30}, levels=[0.0, 0.1])
    dirty = before.training_sets[1].ids
    gone = {dirty[0], next(id for id in dirty if labels[id].anomalous)}
    after, _ = split(90, {"crack": 30}, levels=[0.0, 0.1], excluded=gone)
    assert after.test == before.test
    for old, new in zip(before.training_sets, after.training_sets, strict=True):
        assert set(new.ids) == set(old.ids) - gone


def test_excluding_everything_is_an_error():
    before, _ = split(9, {"crack": 3})
    with pytest.raises(DataError, match=r"excluded\.csv leaves no training image"):
        split(9, {"crack": 3}, excluded=before.training_sets[0].ids)
