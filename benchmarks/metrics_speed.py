"""Time the exact pixel metrics against scikit-learn, a plain full-sort AUPRO, anomalib and ADEval.

    python benchmarks/metrics_speed.py [--images 100] [--size 256] [--repeats 3]

The maps are synthetic: smooth noise, raised inside a few rectangles on six images in ten. Ours computes
AUROC, AP, the best F1 and AUPRO at two limits in one call; the references compute AUROC, AP and AUPRO at 0.3.
Scikit-learn, the full sort and anomalib are exact: the run fails if a value of ours is off by more than 1e-6.
ADEval counts in 1,000 bins between the lowest and the highest score, so that its values are near and no
more. `make bench` installs anomalib and ADEval (extra `bench`).
"""

import argparse
import time
from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from adlib.evaluation.metrics import aupro, pixel_metrics

MAX_FPR = 0.3
TOLERANCE = 1e-6
KEYS = ("pixel_auroc", "pixel_ap", "aupro_0.3")
Result = TypeVar("Result")


def synthetic_maps(images: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Float32 maps (B, H, W) and bool masks (B, H, W)."""
    noise = rng.standard_normal((images, size, size), dtype=np.float32)
    maps = ndimage.gaussian_filter(noise, sigma=(0, 4, 4))
    masks = np.zeros(maps.shape, dtype=bool)
    for mask in masks[: max(1, images * 6 // 10)]:
        for _ in range(3):
            height, width = rng.integers(1, size // 6, 2)
            y, x = rng.integers(0, size - size // 6, 2)
            mask[y : y + height, x : x + width] = True
    return maps + masks * np.float32(2 * maps.std()), masks


def full_sort_aupro(maps: np.ndarray, masks: np.ndarray) -> float:
    """The usual exact AUPRO: argsort all pixels, two running sums, one curve point per distinct score."""
    regions = np.zeros(masks.shape, dtype=np.int32)
    count = 0
    for region, mask in zip(regions, masks, strict=True):
        ndimage.label(mask, structure=np.ones((3, 3)), output=region)
        region[mask] += count
        count = max(count, int(region.max()))
    order = np.argsort(-maps.ravel())
    scores, region = maps.ravel()[order], regions.ravel()[order]
    sizes = np.bincount(region)
    overlap = np.where(region > 0, 1 / sizes[region] / count, 0)
    last = np.append(scores[1:] != scores[:-1], True)
    fpr = np.append(0, np.cumsum(region == 0)[last] / sizes[0])
    pro = np.append(0, np.cumsum(overlap)[last])
    end = np.searchsorted(fpr, MAX_FPR, side="right")
    fpr, pro = np.append(fpr[:end], MAX_FPR), np.append(pro[:end], np.interp(MAX_FPR, fpr, pro))
    return float(np.trapezoid(pro, fpr)) / MAX_FPR


def scikit_learn(maps: np.ndarray, masks: np.ndarray) -> tuple[float, float]:
    scores, labels = maps.ravel(), masks.ravel().astype(np.uint8)  # slower still with bool
    return float(roc_auc_score(labels, scores)), float(average_precision_score(labels, scores))


def anomalib_aupro() -> Callable[[np.ndarray, np.ndarray], float] | None:
    """Anomalib's exact AUPRO, or None where it is not installed."""
    try:
        import torch
        from anomalib.metrics.aupro import _AUPRO  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None

    def evaluate(maps: np.ndarray, masks: np.ndarray) -> float:
        metric = _AUPRO(fpr_limit=MAX_FPR)
        metric.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
        return float(metric.compute())

    return evaluate


def adeval_metrics() -> Callable[[np.ndarray, np.ndarray], list[float | None]] | None:
    """ADEval's binned AUROC, AP and AUPRO at 0.3, or None where it is not installed."""
    if not hasattr(np, "trapz"):  # its name before NumPy 2; ADEval still calls it
        np.trapz = np.trapezoid  # noqa: NPY201 # pyright: ignore[reportAttributeAccessIssue]
    try:
        from adeval import EvalAccumulator  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None

    def evaluate(maps: np.ndarray, masks: np.ndarray) -> list[float | None]:
        low, high = float(maps.min()), float(maps.max())
        found = EvalAccumulator(low, high, low, high)
        found.add_anomap_batch(maps, masks.astype(np.uint8))  # pyright: ignore[reportArgumentType]
        found.add_image([low, high], [0, 1])  # summary() needs both kinds; not looked at
        found.add_sample([low, high], [0, 1])
        values = found.summary()
        return [values["p_auroc"], values["p_aupr"], values["p_aupro"]]

    return evaluate


def best_time(function: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    """Shortest wall-clock seconds of `repeats` calls, and the result."""
    result, times = None, []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - begin)
    return min(times), cast(Result, result)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    maps, masks = synthetic_maps(args.images, args.size, np.random.default_rng(args.seed))

    ours_s, ours = best_time(lambda: pixel_metrics(maps, masks), args.repeats)
    aupro_s, _ = best_time(lambda: aupro(maps, masks, MAX_FPR), args.repeats)
    sklearn_s, (auroc, ap) = best_time(lambda: scikit_learn(maps, masks), args.repeats)
    sort_s, sorted_aupro = best_time(lambda: full_sort_aupro(maps, masks), args.repeats)
    rows: list[tuple[str, float, list[float | None]]] = [
        ("ours, all five pixel metrics", ours_s, [ours[key] for key in KEYS]),
        ("ours, AUPRO alone", aupro_s, [None, None, ours["aupro_0.3"]]),
        ("scikit-learn AUROC + AP", sklearn_s, [auroc, ap, None]),
        ("full-sort AUPRO", sort_s, [None, None, sorted_aupro]),
    ]
    reference_s, name = sklearn_s + sort_s, "scikit-learn + full-sort AUPRO"
    if (evaluate := anomalib_aupro()) is not None:
        anomalib_s, value = best_time(lambda: evaluate(maps, masks), args.repeats)
        rows.append(("anomalib AUPRO", anomalib_s, [None, None, value]))
        reference_s, name = sklearn_s + anomalib_s, "scikit-learn + anomalib AUPRO"
    else:
        print("anomalib is not installed (extra `bench`)")
    exact = list(rows)
    if (binned := adeval_metrics()) is not None:
        rows.append(("ADEval, binned", *best_time(lambda: binned(maps, masks), args.repeats)))
    else:
        print("ADEval is not installed (extra `bench`)")

    B, H, W = maps.shape
    print(f"{B} maps of {H} x {W}, {masks.mean():.2%} defect pixels, best of {args.repeats}")
    print(f"{'':30}{'ms':>9}{'AUROC':>12}{'AP':>12}{'AUPRO 0.3':>12}")
    for label, seconds, values in rows:
        shown = "".join(f"{'-' if value is None else format(value, '.8f'):>12}" for value in values)
        print(f"{label:30}{1000 * seconds:9.1f}{shown}")
    print(f"{name}: {reference_s / ours_s:.1f} x the time of ours")
    for label, _, values in exact:
        for key, value in zip(KEYS, values, strict=True):
            if value is not None and abs(value - ours[key]) > TOLERANCE:
                raise SystemExit(f"{label}: {key} is {value:.8f}, ours is {ours[key]:.8f}")


if __name__ == "__main__":
    main()
