"""Part 1, equal? Every case fitted and scored on both sides, and what each computes and keeps compared."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adlib.learning.methods.contract import Detector, Fit, score_images
from benchmarks.cuda_parts.cases import Case
from benchmarks.cuda_parts.compare import (
    FLOAT32,
    MIXED,
    gradient_difference,
    image_auroc,
    relative,
    score_difference,
    verdict,
)
from benchmarks.cuda_parts.isolation import NO_GPU, Row, attempt
from benchmarks.cuda_parts.roles import (
    BASE,
    Probe,
    Side,
    first_step,
    missing_sides,
    other_sides,
    running,
)


@dataclass(frozen=True)
class Outcome:
    """A fit on one side: what the first step saw, the fit, and the scores of the test images."""

    probe: Probe
    fit: Fit
    detector: Detector
    image: np.ndarray
    patch: np.ndarray


def compared(cases: Callable[[], Iterable[Case]]) -> Iterator[Row]:
    """Rows of all cases: fits compared, then models moved; the CPU's fit is made once a case."""
    for case in cases():
        base: list[Outcome] = []

        def first(case: Case = case, base: list[Outcome] = base) -> Outcome:
            if not base:
                base.append(outcome(case, BASE))
            return base[0]

        for side in other_sides():
            other: list[Outcome] = []
            how = f"cpu against {side.name}"

            def fits(
                case: Case = case, side: Side = side, other: list[Outcome] = other, how: str = how
            ) -> Row:
                expected = first()
                other.append(outcome(case, side))
                return Row(case.name, how, *fit_verdict(case, expected, other[0], side))

            yield attempt(case.name, how, fits)
            if other and not side.mixed:
                where = f"saved there, scored here and the other way ({side.name})"
                yield attempt(
                    case.name, where, lambda other=other, case=case, side=side, where=where: Row(
                        case.name, where, *moved_verdict(case, first(), other[0], side)
                    ),
                )  # fmt: skip
        for name in missing_sides():
            yield Row(case.name, f"cpu against {name}", NO_GPU)


def outcome(case: Case, side: Side) -> Outcome:
    """Fit a case on a side and score its test images there."""
    with running(side):
        with first_step() as probe:
            fit = case.fit(side.device)
        detector = case.then(fit.detector, side.device) if case.then else fit.detector
        scores = score_images(detector, case.test, side.device)
    return Outcome(probe, fit, detector, scores["image"].numpy(), scores["patch"].numpy())


def fit_verdict(case: Case, expected: Outcome, found: Outcome, side: Side) -> tuple[str, dict[str, Any]]:
    """Loss, gradients, scores and AUROC of two fits compared; what says where a fit lives is checked too."""
    auroc = [image_auroc(o.image, case.anomalous) for o in (expected, found)]
    differences = {
        "loss": relative(found.probe.loss, expected.probe.loss),
        "gradients": gradient_difference(found.probe.gradients, expected.probe.gradients),
        "scores": max(
            score_difference(found.image, expected.image), score_difference(found.patch, expected.patch)
        ),
        "auroc": abs(auroc[0] - auroc[1]),
    }
    status, values = verdict(differences, MIXED if side.mixed else FLOAT32)
    values |= {"auroc_here": round(auroc[0], 4), "auroc_there": round(auroc[1], 4)}
    strays = misplaced(found, side)
    return (f"failed: {strays}" if strays else status), values


def misplaced(found: Outcome, side: Side) -> str:
    """What of a fit is not where it should be: weights and scores on the CPU, a detector on its device."""
    about = {"weights": found.fit.weights, "train_scores": found.fit.train_scores}
    about["suspicion"] = found.fit.suspicion
    for name, tensor in about.items():
        if tensor is not None and tensor.device.type != "cpu":
            return f"{name} of the fit are on {tensor.device}"
    arrays = [t for t in found.detector.state().values() if t.ndim and t.is_floating_point()]
    if side.device.type == "cuda" and not any(t.device.type == "cuda" for t in arrays):
        return "no tensor of the detector is on the GPU"
    if not all(np.isfinite(scores).all() for scores in (found.image, found.patch)):
        return "scores are not finite"
    return ""


def moved_verdict(case: Case, here: Outcome, there: Outcome, side: Side) -> tuple[str, dict[str, Any]]:
    """Each side's model written to a file, read and scored on the other side, against its own scores."""
    from adlib.fits.folder import load_detector, write_model  # needs every method's packages

    differences = []
    for made, device, place in ((here, side.device, side), (there, BASE.device, BASE)):
        with tempfile.TemporaryDirectory() as folder, running(place):
            write_model(Path(folder), case.method, made.detector)
            loaded = load_detector(folder, device)
            scores = score_images(loaded, case.test, device)
        same = states_equal(made.detector.state(), loaded.state())
        if not same:
            return "failed: a loaded model's tensors are not those that were saved", {}
        differences.append(
            max(
                score_difference(scores["image"].numpy(), made.image),
                score_difference(scores["patch"].numpy(), made.patch),
            )
        )
    return verdict({"moved": max(differences)}, FLOAT32)


def states_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two states hold the same numbers, wherever they lie."""
    return first.keys() == second.keys() and all(
        torch.equal(first[name].detach().cpu(), second[name].detach().cpu()) for name in first
    )
