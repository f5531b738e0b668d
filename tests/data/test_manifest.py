"""The two tables that fetch writes: round trips, and what is refused."""

from pathlib import Path

import pytest

import stages.fetch
from adlib.data.manifest import DataError, Label, Sample, read_labels, read_manifest, write_rows


def test_a_damaged_manifest(tmp_path: Path):
    write_rows(tmp_path / "m.csv", [Sample("a", "a.png", "val")], Sample)  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        DataError,
        match=r"m\.csv, row 1: split: should be 'train', 'calibration' or 'test', got 'val'; rerun the fetch",
    ):
        read_manifest(tmp_path / "m.csv")


def test_rows_round_trip_with_awkward_names(tmp_path: Path):
    samples = [Sample("b", 'a, "b"/ü.png', "train"), Sample("a", "x\ny.png", "test")]
    labels = [Label("b", "good", "", ""), Label("a", "crack, big", "m.png", "0" * 64)]
    write_rows(tmp_path / "m.csv", samples, Sample)
    write_rows(tmp_path / "l.csv", labels, Label)
    assert read_manifest(tmp_path / "m.csv") == samples[::-1]
    assert read_labels(tmp_path / "l.csv") == {label.id: label for label in labels}


def test_the_stage_reports_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"error: params.yaml: No such file"):
        stages.fetch.main("bottle")
