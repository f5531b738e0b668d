"""What the metrics accept: one place that turns arrays and tensors into checked NumPy arrays."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class TensorLike(Protocol):
    """A torch tensor, recognised by its methods so that torch need not be imported."""

    def detach(self) -> Any: ...


Input = npt.ArrayLike | TensorLike


def check_scores(scores: Input, labels: Input, *, name: str = "scores") -> tuple[np.ndarray, np.ndarray]:
    """Checked image scores (S,) and bool labels (S,) with both classes present.

    Raises:
        ValueError: wrong ndim, different lengths, empty, NaN or infinite scores, labels other than 0 and 1,
            or only one class.

    Example:
        >>> check_scores([0.5, 2], [0, 1])
        (array([0.5, 2. ]), array([False,  True]))
    """
    values, truth = _checked_pair(scores, labels, name, "labels", axes=("S",))
    anomalous = int(truth.sum())
    if anomalous in (0, truth.size):
        raise ValueError(
            f"labels: expected both classes, got {anomalous} of {truth.size} images anomalous (1); "
            "evaluate on a test set that holds normal and anomalous images"
        )
    return values, truth


def check_maps(maps: Input, masks: Input) -> tuple[np.ndarray, np.ndarray]:
    """Checked anomaly maps (B, H, W) and bool masks (B, H, W) with both kinds of pixel present.

    Raises:
        ValueError: wrong ndim, different shapes, empty, NaN or infinite scores, masks other than 0 and 1,
            no defect pixel, or no normal pixel.

    Example:
        >>> check_maps([[[0.5, 2]]], [[[0, 1]]])
        (array([[[0.5, 2. ]]]), array([[[False,  True]]]))
    """
    values, truth = _checked_pair(maps, masks, "maps", "masks", axes=("B", "H", "W"))
    defects = int(truth.sum())
    if defects == 0:
        raise ValueError(
            f"masks: expected at least one defect pixel (1), got {truth.shape[0]} empty masks; "
            "pixel metrics need anomalous images with ground truth"
        )
    if defects == truth.size:
        raise ValueError(
            "masks: expected at least one normal pixel (0), got only defect pixels; "
            "the false positive rate is undefined, check that the masks are not inverted"
        )
    return values, truth


def check_fraction(value: float, name: str) -> float:
    """`value` as a float in (0, 1].

    Raises:
        ValueError: outside that range or NaN.

    Example:
        >>> check_fraction(1, "max_fpr")
        1.0
        >>> check_fraction(5, "max_fpr")
        Traceback (most recent call last):
        ValueError: max_fpr: expected a fraction in (0, 1], got 5; 5 % is written 0.05
    """
    if not 0 < value <= 1:
        raise ValueError(f"{name}: expected a fraction in (0, 1], got {value}; 5 % is written 0.05")
    return float(value)


def _checked_pair(
    scores: Input, truth: Input, scores_name: str, truth_name: str, axes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    values, answer = _to_numpy(scores), _to_numpy(truth)
    for array, name in ((values, scores_name), (answer, truth_name)):
        if array.ndim != len(axes):
            raise ValueError(
                f"{name}: expected {len(axes)} axes ({', '.join(axes)}), got shape {array.shape}; reshape it"
            )
    if values.shape != answer.shape:
        raise ValueError(
            f"{scores_name} and {truth_name}: expected equal shapes, got {values.shape} and {answer.shape}; "
            "pass one entry of the ground truth for each score"
        )
    if values.size == 0:
        raise ValueError(
            f"{scores_name}: expected at least one value, got shape {values.shape}; check the test split"
        )
    return _real(values, scores_name), _binary(answer, truth_name)


def _to_numpy(data: Any) -> np.ndarray:
    if not hasattr(data, "detach"):
        return np.asarray(data)
    tensor = data.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:  # bfloat16 has no NumPy type; float32 holds each of its values exactly
        return tensor.float().numpy()


def _real(scores: np.ndarray, name: str) -> np.ndarray:
    """Finite real scores. Only float16 changes type: float32 holds it exactly and sorts much faster."""
    if scores.dtype.kind not in "fiub":
        raise ValueError(
            f"{name}: expected real numbers, got dtype {scores.dtype}; convert them to float32 or float64"
        )
    finite = np.isfinite(scores)
    if not finite.all():
        raise ValueError(
            f"{name}: expected finite values, got {int((~finite).sum())} NaN or infinite of {scores.size}; "
            "find the model or image that produced them"
        )
    return scores.astype(np.float32) if scores.dtype == np.float16 else scores


def _binary(truth: np.ndarray, name: str) -> np.ndarray:
    if truth.dtype == np.bool_:
        return truth
    anomalous = truth == 1
    neither = ~(anomalous | (truth == 0))
    if neither.any():
        raise ValueError(
            f"{name}: expected only 0 (normal) and 1 (anomalous), got {truth[neither].flat[0]!s}; "
            f"binarise first, for 0/255 images `{name} > 0`"
        )
    return anomalous
