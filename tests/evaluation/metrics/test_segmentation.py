"""Pixel-level metrics against a literal AUPRO in rational arithmetic, scikit-learn and their identities."""

import itertools
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from adlib.evaluation.metrics import aupro, average_precision, f1_max, pixel_metrics

LIMITS = [0.05, 0.25, 0.3, 0.5, 1.0]


def regions_by_flood_fill(masks: np.ndarray) -> list[set[tuple[int, int, int]]]:
    """8-connected components, each a set of (image, row, column)."""
    todo = set(zip(*(axis.tolist() for axis in np.nonzero(masks)), strict=True))
    regions = []
    while todo:
        region, front = set(), [todo.pop()]
        while front:
            b, y, x = front.pop()
            region.add((b, y, x))
            near = {(b, y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & todo
            todo -= near
            front += near
        regions.append(region)
    return regions


def aupro_by_definition(maps: np.ndarray, masks: np.ndarray, max_fpr: float) -> float:
    """One point of the curve for each distinct score, then the trapezoid rule, all in fractions."""
    regions, limit = regions_by_flood_fill(masks), Fraction(max_fpr)
    normal = masks == 0
    curve = [(Fraction(0), Fraction(0))]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        flagged = maps >= threshold
        overlaps = [Fraction(sum(map(bool, (flagged[p] for p in region))), len(region)) for region in regions]
        fpr = Fraction(int((flagged & normal).sum()), int(normal.sum()))
        curve.append((fpr, sum(overlaps, Fraction(0)) / len(regions)))
    area = Fraction(0)
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y_end) / 2
    return float(area / limit)


@st.composite
def small_maps(draw: st.DrawFn, levels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Up to three 5 x 4 maps with few distinct scores: ties everywhere, single pixels, diagonal contacts."""
    shape = (draw(st.integers(1, 3)), 5, 4)
    size = int(np.prod(shape))
    maps = draw(st.lists(st.integers(0, levels), min_size=size, max_size=size))
    masks = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    assume(any(masks) and not all(masks))
    return np.array(maps, dtype=float).reshape(shape), np.array(masks).reshape(shape)


def blobs(seed: int = 0, images: int = 4, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Distinct float scores, raised inside square defects; the last image is normal."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((images, size, size), dtype=bool)
    for image in masks[:-1]:
        for y, x in rng.integers(0, size - 5, (2, 2)):
            image[y : y + rng.integers(1, 5), x : x + rng.integers(1, 5)] = True
    return rng.standard_normal(masks.shape) + masks, masks


@given(small_maps(), st.sampled_from(LIMITS))
def test_aupro_matches_its_definition_with_ties(data, limit) -> None:
    maps, masks = data
    expected = aupro_by_definition(maps, masks, limit)
    assert aupro(maps, masks, max_fpr=limit) == pytest.approx(expected, abs=1e-12)


@given(small_maps(levels=10_000), st.sampled_from(LIMITS))
def test_aupro_matches_its_definition_with_few_ties(data, limit) -> None:
    maps, masks = data
    expected = aupro_by_definition(maps, masks, limit)
    assert aupro(maps, masks, max_fpr=limit) == pytest.approx(expected, abs=1e-12)


def test_aupro_by_hand_with_the_limit_inside_a_tied_slope() -> None:
    # Four normal pixels. The defect's two pixels score 3 (alone) and 1 (tied with two normal pixels); one
    # normal pixel scores 2. Curve: (0, 1/2), (1/4, 1/2), slope to (3/4, 1), (1, 1).
    maps = np.array([[[3.0, 1, 2], [1, 1, 0]]])
    masks = np.array([[[1, 1, 0], [0, 0, 0]]])
    assert aupro(maps, masks, max_fpr=0.25) == 0.5
    # At FPR 1/2 the slope has climbed to 3/4: 1/4 * 1/2 + 1/4 * (1/2 + 3/4) / 2 = 9/32.
    assert aupro(maps, masks, max_fpr=0.5) == pytest.approx(9 / 16, abs=1e-15)
    assert aupro(maps, masks, max_fpr=1.0) == pytest.approx(1 / 8 + 3 / 8 + 1 / 4, abs=1e-15)


def test_regions_weigh_the_same_whatever_their_size() -> None:
    # A single-pixel region found, a twelve-pixel region missed: half of the regions.
    masks = np.zeros((1, 8, 8), dtype=bool)
    masks[0, 0, 0] = masks[0, 4:7, 2:6] = True
    maps = np.linspace(1, 2, 64).reshape(masks.shape)
    maps[0, 4:7, 2:6], maps[0, 0, 0] = 0, 3
    assert aupro(maps, masks) == 0.5


def test_diagonal_contact_joins_a_region() -> None:
    masks = np.zeros((1, 6, 6), dtype=bool)
    masks[0, 1, 1:4] = masks[0, 2, 4] = masks[0, 5, 0] = True
    maps = np.linspace(1, 2, 36).reshape(masks.shape)
    maps[masks] = 0
    maps[0, 1, 1:4] = 3
    # Regions: three found pixels with a missed diagonal one (3/4), and a missed pixel (0).
    assert aupro(maps, masks) == pytest.approx(0.375, abs=1e-15)


def test_regions_do_not_reach_into_the_next_image() -> None:
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[0, 1, 1] = masks[1, 1, 1] = masks[1, 1, 2] = True
    maps = np.linspace(1, 2, 32).reshape(masks.shape)
    maps[masks] = 0
    maps[0, 1, 1] = 3
    assert aupro(maps, masks) == 0.5


def test_normal_images_count_in_the_false_positive_rate() -> None:
    maps, masks = blobs()
    noisy, clean = maps.copy(), maps.copy()
    noisy[-1] += 10
    clean[-1] -= 10
    assert aupro(noisy, masks) < aupro(maps, masks) < aupro(clean, masks)
    assert aupro(maps[:-1], masks[:-1]) < aupro(clean, masks)


@pytest.mark.parametrize("limit", LIMITS)
def test_perfect_constant_and_inverted_maps(limit) -> None:
    _, masks = blobs(seed=3)
    assert aupro(masks.astype(np.float32), masks, limit) == 1.0
    assert aupro(-masks.astype(np.float32), masks, limit) == 0.0
    # A constant map is one tied threshold: the diagonal, cut at the limit.
    assert aupro(np.zeros(masks.shape), masks, limit) == pytest.approx(limit / 2, abs=1e-15)


def test_full_range_with_one_region_is_the_pixel_auroc() -> None:
    maps, masks = blobs()
    masks = np.zeros_like(masks)
    masks[0, 3:9, 5:11] = True
    result = pixel_metrics(np.round(maps, 1), masks, max_fprs=(1.0,))
    assert result["aupro_1"] == pytest.approx(result["pixel_auroc"], abs=1e-12)


@given(small_maps())
def test_increasing_maps_change_nothing(data) -> None:
    maps, masks = data
    for mapped in (2 * maps - 7, np.exp(maps), maps.astype(np.float16)):
        assert pixel_metrics(mapped, masks) == pixel_metrics(maps, masks)


@given(small_maps(), st.randoms(use_true_random=False))
def test_order_and_orientation_of_the_images_change_nothing(data, random) -> None:
    maps, masks = data
    order = random.sample(range(len(maps)), len(maps))
    expected = pytest.approx(pixel_metrics(maps, masks), abs=1e-13)
    assert pixel_metrics(maps[order], masks[order]) == expected
    assert pixel_metrics(maps[:, ::-1], masks[:, ::-1]) == expected
    assert pixel_metrics(maps.transpose(0, 2, 1), masks.transpose(0, 2, 1)) == expected


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_pixel_metrics_match_independent_references(kind) -> None:
    maps, masks = blobs(seed=1)
    maps = maps.astype(kind)
    result = pixel_metrics(maps, masks)
    flat, truth = maps.ravel().astype(np.float64), masks.ravel()
    assert list(result) == ["pixel_auroc", "pixel_ap", "pixel_f1max", "aupro_0.3", "aupro_0.05"]
    assert result["pixel_auroc"] == pytest.approx(float(roc_auc_score(truth, flat)), abs=1e-12)
    assert result["pixel_ap"] == pytest.approx(float(average_precision_score(truth, flat)), abs=1e-12)
    assert result["pixel_f1max"] == f1_max(flat, truth)[0]
    assert result["pixel_ap"] == average_precision(flat, truth)
    for limit in (0.3, 0.05):
        assert result[f"aupro_{limit}"] == aupro(maps, masks, limit)
        assert result[f"aupro_{limit}"] == pytest.approx(aupro_by_definition(maps, masks, limit), abs=1e-12)


def test_memory_does_not_grow_with_the_number_of_thresholds() -> None:
    rng = np.random.default_rng(0)
    distinct = rng.permutation(64 * 64 * 16).reshape(16, 64, 64).astype(np.float32)
    masks = np.zeros(distinct.shape, dtype=bool)
    masks[:, 10:20, 10:20] = True
    peaks = []
    for maps in (distinct, np.floor(distinct / 2**15)):
        tracemalloc.start()
        pixel_metrics(maps, masks)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 1.2 * peaks[1]
    assert peaks[0] < 32 * distinct.size
