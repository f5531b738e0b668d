"""Stage `train`: one fit for every training set of a category, and its scores of the test images.

Scoring needs no label and belongs to the fit, so evaluation reads scores only. Finished fits are kept in the
store: an added level or seed trains only itself, and a killed sweep resumes where it was.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adlib.base.code import code_version
from adlib.base.device import resolve_device
from adlib.base.files import atomic_directory, write_json
from adlib.base.progress import say
from adlib.base.store import content_key, stored_folder
from adlib.config.params import Params
from adlib.data.manifest import DataError
from adlib.data.rows import INFO as FEATURES_INFO
from adlib.data.rows import Features, open_features
from adlib.data.splits import TrainingSet, read_splits
from adlib.fits.files import TIME
from adlib.fits.folder import take_seconds, write_model, write_scores, write_threshold
from adlib.fits.scoring import calibration_scores, resemblance
from adlib.learning.methods.contract import Fit, score_images
from adlib.learning.methods.registry import METHODS
from adlib.learning.methods.witnesses import examine


@dataclass(frozen=True)
class FitJob:
    """Everything a fit depends on; its hash is the name of the stored result."""

    method: str
    params: Params
    features: Features
    training_set: TrainingSet
    test: tuple[str, ...]
    device: torch.device
    painted: Features | None = None

    @property
    def key(self) -> str:
        """Settings, images, seed, features and code; the noise level itself does not matter."""
        settings = self.params.settings(self.method)
        painted = {} if self.painted is None else {"painted": self.painted.info.key}
        return content_key(
            method=self.method,
            settings=settings.model_dump(mode="json"),
            train=self.training_set.ids,
            test=self.test,
            calibration=self.training_set.calibration,
            seed=self.training_set.seed,
            features=self.features.info.key,
            device=self.device.type,
            code=code_version(METHODS[self.method].fit.__module__, "adlib.learning.methods.witnesses"),
            **painted,
        )

    def run(self, folder: Path) -> None:
        """Fit, score test and calibration images, and write model, scores, log and seconds into `folder`."""
        method = METHODS[self.method]
        start = time.perf_counter()
        ids = self.training_set.ids
        fit = method.fit(
            self.params.settings(self.method),
            self.features.select(ids),
            self.training_set.seed,
            self.device,
            **({} if self.painted is None else {"painted": self.painted.select(ids)}),
        )
        fitted = time.perf_counter()
        tensors = score_images(fit.detector, self.features.select(self.test), self.device)
        tensors |= self._training(fit, tensors["patch"])
        seconds = {"fit": fitted - start, "score": time.perf_counter() - fitted}
        calibration = self.training_set.calibration
        tensors |= calibration_scores(fit.detector, self.features, calibration, self.device)
        write_model(folder, self.method, fit.detector)
        info = self.features.info
        rule = None if fit.confidence is None else asdict(fit.confidence)
        write_scores(folder, tensors, info, ids, self.test, fit.log, calibration, rule)
        write_json(folder / TIME, seconds)

    def _training(self, fit: Fit, test_patch: Tensor) -> dict[str, Tensor]:
        """What the fit has to say about its training images, and which of them the test images are like."""
        found = {"train_weight": fit.weights, "train_score": fit.train_scores}
        if fit.suspicion is not None:
            view = self.features.select(self.training_set.ids)
            suspects = examine(fit.detector, view, fit.suspicion, self.device)
            found |= {
                "train_suspicion": fit.suspicion,
                **{f"suspect_{name}": tensor for name, tensor in suspects.items()},
            }
            if fit.confidence is not None:
                test, rule = self.features.select(self.test), fit.confidence
                found |= resemblance(fit.detector, rule, test_patch, test, view, fit.suspicion, self.device)
        return {name: tensor for name, tensor in found.items() if tensor is not None}


def train(
    params: Params,
    category: str,
    method: str,
    features: Path,
    splits: Path,
    out: Path,
    timing: Path,
    painted: Path | None = None,
) -> None:
    """Fit a method on every training set of a category.

    Args:
        params: the whole of params.yaml.
        category: names the log lines only.
        method: a key of `METHODS`.
        features: folder of the category's features.
        splits: what `contaminate` wrote.
        out: folder to write; one subfolder per fit, named by noise level and seed.
        timing: JSON file to write; seconds per fit (apart, as they are never the same twice).
        painted: folder of the painted copies' features; read only if the method's settings ask for them.

    Raises:
        DataError: the category has no image to train on, or painted copies are asked for and there are none.
    """
    device = resolve_device(params.device)
    opened, plan = open_features(features), read_splits(splits)
    copies = None
    if painted is not None and params.methods.block(method).paints is not None:
        if not (painted / FEATURES_INFO).exists():
            raise DataError(
                f"{painted}: has no painted copies; `dvc repro` with a share of painted defects makes them"
            )
        copies = open_features(painted)
    if not all(training_set.ids for training_set in plan.training_sets):
        raise DataError(
            f"{category}: {method} trains on normal images, and this category has none; only methods of "
            "methods.auxiliary, without shots, can be measured on it (empty plain, confident and flow)"
        )
    seconds: dict[str, Any] = {}
    with atomic_directory(out) as temporary:
        for training_set in plan.training_sets:
            folder = temporary / training_set.name
            folder.mkdir()
            job = FitJob(method, params, opened, training_set, plan.test, device, copies)
            with stored_folder("fits", job.key, folder) as missing:
                if missing is not None:
                    job.run(missing)
            seconds[training_set.name] = taken = take_seconds(folder)
            # Outside the stored part: another rate or trim refits nothing.
            write_threshold(folder, params.threshold)
            how = f"in {taken['fit']:.1f} s" if missing else "from the store"
            say(f"{category} {method} {training_set.name}: {len(training_set.ids)} images, fitted {how}")
    write_json(timing, seconds)
