"""Pixel-level metrics: maps (B, H, W), higher is more anomalous, against masks (B, H, W), 1 is a defect.

NumPy arrays and torch tensors are accepted. Memory is proportional to the pixels, whatever the number of
thresholds. Every function raises `ValueError` for what `inputs.check_maps` lists.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from adlib.evaluation.metrics.inputs import Input, check_fraction, check_maps
from adlib.evaluation.metrics.ranking import Ranking, area_under_roc, best_f1, mean_precision, rank_positives


def aupro(maps: Input, masks: Input, max_fpr: float = 0.3) -> float:
    """Area under the per-region overlap up to a false positive rate `max_fpr`, divided by it; in [0, 1].

    Every distinct score is a threshold. PRO is the mean, over the 8-connected components of each image's
    mask, of the component's flagged share; FPR is the flagged share of all normal pixels, those of normal
    images included. The curve starts at (0, 0), is linear between thresholds and interpolated at `max_fpr`.

    Source: Bergmann et al. 2021, "The MVTec Anomaly Detection Dataset" (normalised area under the PRO curve).

    Raises:
        ValueError: as above, and for `max_fpr` outside (0, 1].

    Example:
        One normal pixel of three lies above the defect, so the curve is 0 up to an FPR of 1/3, then 1:

        >>> round(aupro([[[0.5, 0.9], [0.2, 0.1]]], [[[1, 0], [0, 0]]], max_fpr=0.5), 4)
        0.3333
    """
    limit = check_fraction(max_fpr, "max_fpr")
    values, truth = check_maps(maps, masks)
    return _mean_region_area(rank_positives(values, truth), _region_ids(truth), limit)


def pixel_metrics(maps: Input, masks: Input, max_fprs: Sequence[float] = (0.3, 0.05)) -> dict[str, float]:
    """`pixel_auroc`, `pixel_ap`, `pixel_f1max` and one `aupro_<max_fpr>` for each limit, from one sort.

    Raises:
        ValueError: as `aupro`.

    Example:
        >>> found = pixel_metrics([[[0.5, 0.9], [0.2, 0.1]]], [[[1, 0], [0, 0]]], max_fprs=[0.5])
        >>> {name: round(value, 4) for name, value in found.items()}
        {'pixel_auroc': 0.6667, 'pixel_ap': 0.5, 'pixel_f1max': 0.6667, 'aupro_0.5': 0.3333}
    """
    limits = [check_fraction(max_fpr, "max_fprs") for max_fpr in max_fprs]
    values, truth = check_maps(maps, masks)
    ranking, regions = rank_positives(values, truth), _region_ids(truth)
    return {
        "pixel_auroc": area_under_roc(ranking),
        "pixel_ap": mean_precision(ranking),
        "pixel_f1max": best_f1(ranking)[0],
        **{f"aupro_{limit:g}": _mean_region_area(ranking, regions, limit) for limit in limits},
    }


def _region_ids(masks: np.ndarray) -> np.ndarray:
    """Component 0..R-1 of each defect pixel, ordered as `masks[masks]`: 8-connected, never across images."""
    within_image = np.zeros((3, 3, 3), dtype=bool)
    within_image[1] = True
    labelled = np.empty(masks.shape, dtype=np.int32)
    ndimage.label(masks, structure=within_image, output=labelled)
    return labelled[masks] - 1


def _mean_region_area(ranking: Ranking, regions: np.ndarray, limit: float) -> float:
    """AUPRO as a mean over regions of a mean over pixels; exact, since the integral is linear in PRO.

    PRO is a sum over the defect pixels of unit ramps, each weighted 1 / (R * size of its region). The ramp
    of a pixel climbs from 0 to 1 while FPR goes from `FP_above / N` to `FP / N`: vertically, or along a slope
    when normal pixels share its score. Its area up to `limit` is elementary; at 1 it is the AUROC term.
    """
    reach = limit * ranking.negatives  # the FPR axis in false positives
    start, stop = ranking.false_positives_above, ranking.false_positives
    width = stop - start
    climbed = np.clip(reach - start, 0, width)
    area = climbed**2 / (2 * np.maximum(width, 1)) + np.maximum(reach - stop, 0)
    region = regions[ranking.order]
    region_means = np.bincount(region, weights=area / reach) / np.bincount(region)
    return float(region_means.mean())
