"""Which examples are shown, and how they are drawn."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adlib.data.manifest import Label, Sample
from adlib.data.source import Source
from adlib.data.splits import TrainingSet
from adlib.evaluation import gallery
from adlib.evaluation.gallery import EXAMPLES, choose, make_gallery, panels, reference_fit
from adlib.evaluation.pictures import OUTLINE, PANEL, draw_outline, encode, heat_colours, overlay, shrink_mask
from adlib.fits.files import FitScores, NearestNormals, Suspects
from adlib.report.templates import environment

SIZE = 32


def test_reference_is_the_highest_level_and_the_first_seed():
    sets = [TrainingSet(noise, seed, ()) for seed in (3, 1) for noise in (0.0, 0.2, 0.1)]
    assert (reference_fit(sets).noise, reference_fit(sets).seed) == (0.2, 3)


def test_choice_by_hand():
    scores = np.array([0.9, 0.1, 0.5, 0.4, 0.8, 0.3])
    anomalous = np.array([True, True, True, False, False, False])
    chosen = {group: indices.tolist() for group, indices in choose(scores, anomalous).items()}
    assert chosen == {"hits": [0, 2], "misses": [1], "false_alarms": [4, 3, 5]}


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_choice_is_small_disjoint_and_of_the_right_kind(anomalies: int, normals: int, seed: int):
    rng = np.random.default_rng(seed)
    anomalous = rng.permutation(np.arange(anomalies + normals) < anomalies)
    scores = rng.integers(0, 5, len(anomalous)).astype(float)
    chosen = choose(scores, anomalous)
    assert all(len(indices) <= EXAMPLES for indices in chosen.values())
    assert anomalous[chosen["hits"]].all()
    assert anomalous[chosen["misses"]].all()
    assert not anomalous[chosen["false_alarms"]].any()
    assert not set(chosen["hits"]) & set(chosen["misses"])
    assert len(chosen["hits"]) >= 1
    if len(chosen["misses"]):
        assert scores[chosen["hits"]].min() >= scores[chosen["misses"]].max()


def test_colours_rise_evenly_in_lightness():
    """Perceptually uniform: CIE L* grows monotonically and nearly in proportion to the value."""
    linear = (heat_colours(np.linspace(0, 1, 64)) / 255.0) ** 2.2
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    assert (np.diff(lightness) > 0).all()
    assert np.abs(lightness - np.linspace(0, 100, 64)).max() < 12


def test_colours_clip_beyond_the_scale():
    below, low, high, above = heat_colours(np.array([-3.0, 0.0, 1.0, 7.0]))
    np.testing.assert_array_equal(below, low)
    np.testing.assert_array_equal(above, high)
    assert low.max() < 10
    assert high[0] > 240


def test_hotter_is_brighter_on_the_same_grey():
    rgb = np.full((1, 3, 3), 100, dtype=np.uint8)
    drawn = overlay(rgb, np.array([[0.0, 0.5, 1.0]])).sum(axis=2)[0]
    assert drawn[0] < drawn[1] < drawn[2]


def test_outline_surrounds_the_defect_and_leaves_it_in_view():
    mask = np.zeros((9, 9), dtype=bool)
    mask[4, 4] = True
    rgb = np.zeros((9, 9, 3), dtype=np.uint8)
    drawn = draw_outline(rgb, mask)
    assert (drawn[4, 4] == 0).all()
    assert tuple(drawn[4, 5]) == OUTLINE
    assert (rgb == 0).all()


def test_a_defect_of_one_pixel_survives_shrinking():
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[501, 3] = True
    assert shrink_mask(mask).sum() == 1


def test_encoding_lowers_the_quality_until_the_pictures_fit():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (PANEL, PANEL, 3), dtype=np.uint8) for _ in range(3)]
    best, smallest = encode(pictures, 10**9), encode(pictures, 0)
    middle = sum(len(base64.b64decode(p)) for p in best) * 2 // 3
    fitted = encode(pictures, middle)
    assert sum(map(len, smallest)) < sum(map(len, fitted)) < sum(map(len, best))
    assert sum(len(base64.b64decode(p)) for p in fitted) <= middle


def make_scores(folder: Path, *, weights: bool, masked: bool):
    """Six test and eight training images of `SIZE` pixels; the anomalies have a hot corner."""
    rng = np.random.default_rng(1)
    test, train = [f"t{i}" for i in range(6)], [f"r{i}" for i in range(8)]
    for id in test + train:
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(folder / f"{id}.png")
    samples = {id: Sample(id, f"{id}.png", "test" if id in test else "train") for id in test + train}
    dirty = {"t0", "t1", "t2", "r7"}
    labels = {id: Label(id, "crack" if id in dirty else "good", "", "") for id in samples}
    patch = rng.random((6, 16)).astype(np.float32)
    patch[:3, 0] += [3, 2, 0]
    doubts: dict[str, Any] = {"weight": None, "train_score": None, "suspicion": None, "suspects": None}
    if weights:
        doubts["weight"] = np.linspace(1, 0.3, 8, dtype=np.float32)
        doubts["suspicion"] = np.arange(8, dtype=np.float32)
        worst, nearest = np.arange(7, 0, -1), np.tile([0, 2, 1], (7, 1))
        doubts["suspects"] = Suspects(worst, rng.random((7, 16)).astype(np.float32), nearest)
    scores = FitScores(
        tuple(test), patch.max(axis=1), patch, (4, 4), SIZE, "key", "sha", tuple(train), **doubts
    )
    masks = np.zeros((6, SIZE, SIZE), dtype=bool)
    masks[0, :6, :6] = True
    return {"scores": scores, "samples": samples, "labels": labels, "masks": masks if masked else None}


def write(folder: Path, made: dict) -> dict:
    """The gallery as JSON holds it; witnesses lie in the folder `auxiliary`."""
    scores = replace(made["scores"], witness_source=Source(str(folder / "auxiliary")))
    (folder / "auxiliary").mkdir(exist_ok=True)
    return json.loads(json.dumps(make_gallery(keep_aspect=False, root=folder, **made | {"scores": scores})))


def picture(entry: dict) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(entry["jpeg"])))


def test_gallery_names_its_fit_scale_and_examples(tmp_path: Path):
    made = make_scores(tmp_path, weights=True, masked=True)
    found = write(tmp_path, made)
    normal = made["scores"].patch[3:]
    assert found["scale"]["low"] == pytest.approx(np.median(normal))
    assert found["scale"]["high"] == pytest.approx(np.quantile(normal, 0.999))
    groups = found["groups"]
    assert [e["id"] for e in groups["hits"]] == ["t0", "t1"]
    assert [e["id"] for e in groups["misses"]] == ["t2"]
    assert {e["id"] for e in groups["false_alarms"]} == {"t3", "t4", "t5"}
    assert [e["mask"] for e in groups["hits"]] == [True, False]
    assert groups["hits"][0]["above"] == 1.0
    assert groups["hits"][0]["defect"] == "crack"
    assert picture(groups["hits"][0]).size == (2 * PANEL, PANEL)


def test_gallery_shows_suspects_with_their_evidence_and_whether_they_were_injected(tmp_path: Path):
    worst = write(tmp_path, make_scores(tmp_path, weights=True, masked=False))["groups"]["suspects"]
    assert [e["id"] for e in worst] == ["r7", "r6", "r5", "r4", "r3", "r2"]
    assert [e["anomalous"] for e in worst] == [True] + [False] * 5
    assert (worst[0]["weight"], worst[0]["suspicion"]) == (pytest.approx(0.3), 7)
    assert worst[0]["nearest"] == ["r0.png", "r2.png", "r1.png"]
    assert picture(worst[0]).size == (5 * PANEL, PANEL), "image, heat map and three images like it"


def test_examples_show_their_patches_and_what_they_are_like(tmp_path: Path):
    made = make_scores(tmp_path, weights=True, masked=True)
    nearest = np.tile([2, 5, 0], (6, 1))
    like = NearestNormals(nearest, np.tile([1.5, 2.5, 4.0], (6, 1)), np.linspace(0.1, 0.6, 6))
    groups = write(tmp_path, made | {"scores": replace(made["scores"], nearest_normals=like)})["groups"]
    best = groups["hits"][0]
    assert best["nearest"] == ["r2.png", "r5.png", "r0.png"]
    assert best["distance"] == [1.5, 2.5, 4.0]
    assert best["weight"] == pytest.approx(0.1)
    corner, *others = best["patches"]
    score = pytest.approx(float(made["scores"].patch[0, 0]))
    assert corner == {"box": [0, 0, SIZE // 4, SIZE // 4], "score": score}
    normal = made["scores"].patch[3:]
    assert all(patch["score"] > np.quantile(normal, 0.999) for patch in others)
    assert len(others) < 5
    assert picture(best).size == (3 * PANEL, PANEL), "image, heat map and the image like it"
    assert best["auxiliary"] is False


def test_a_zero_shot_example_stands_beside_an_auxiliary_image(tmp_path: Path):
    made = make_scores(tmp_path, weights=False, masked=False)
    (tmp_path / "auxiliary").mkdir()
    for name, grey in (("dark", 10), ("light", 240)):
        Image.fromarray(np.full((SIZE, SIZE, 3), grey, np.uint8)).save(tmp_path / "auxiliary" / f"{name}.png")
    witnesses = tuple(Sample(name, f"{name}.png", "train") for name in ("dark", "light"))
    like = NearestNormals(np.tile([1, 0], (6, 1)), np.tile([1.5, 2.5], (6, 1)), np.linspace(0.1, 0.6, 6))
    scores = replace(made["scores"], train=(), nearest_normals=like, witnesses=witnesses)
    best = write(tmp_path, made | {"scores": scores})["groups"]["hits"][0]
    assert best["nearest"] == ["light.png", "dark.png"]
    assert best["auxiliary"] is True
    shown = (
        environment(["cozad-zero"])
        .get_template("parts.html")
        .module.examples("Found", [best], "normal", None)
    )
    assert "most like <span>light.png</span> of the auxiliary set" in shown
    assert "and the auxiliary image most like it" in shown
    assert np.asarray(picture(best))[:, 2 * PANEL + 4 :].mean() == pytest.approx(240, abs=3)


def test_without_a_grid_the_picture_takes_the_place_of_the_map(tmp_path: Path):
    """Scores of views cannot be drawn; the examples are chosen and shown all the same."""
    made = make_scores(tmp_path, weights=False, masked=False)
    found = write(tmp_path, made | {"scores": replace(made["scores"], grid=None)})
    assert found["scale"] is None
    assert [e["id"] for e in found["groups"]["hits"]] == ["t0", "t1"]
    left, right = np.split(np.asarray(picture(found["groups"]["hits"][0]), dtype=int), 2, axis=1)
    assert np.abs(left - right).mean() < 5  # one picture twice, but for the compression


def test_a_method_without_weights_shows_no_training_images(tmp_path: Path):
    assert write(tmp_path, make_scores(tmp_path, weights=False, masked=False))["groups"]["suspects"] == []


def test_pictures_stay_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = make_scores(tmp_path, weights=True, masked=True)
    monkeypatch.setattr(gallery, "BUDGET", 150_000)
    groups = write(tmp_path, made)["groups"]
    size = sum(len(base64.b64decode(e["jpeg"])) for entries in groups.values() for e in entries)
    assert 60_000 < size <= 150_000


def test_heat_lies_on_the_right_and_the_outline_only_where_a_mask_is():
    rgb = np.full((SIZE, SIZE, 3), 128, dtype=np.uint8)
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    plain = panels(rgb, np.zeros((SIZE, SIZE)), mask)
    mask[10:20, 10:20] = True
    outlined = panels(rgb, np.zeros((SIZE, SIZE)), mask)
    assert plain.shape == (PANEL, 2 * PANEL, 3)
    assert (plain[:, :PANEL] == 128).all()
    np.testing.assert_array_equal(plain[:, :PANEL], outlined[:, :PANEL])
    assert (outlined == OUTLINE).all(axis=2).any()
    assert not (plain == OUTLINE).all(axis=2).any()
