"""Stage `apply-auxiliary`: a model trained on the auxiliary set scores the images of a target category.

The scores stand where a method trained on the target would have put them, one fit for every noise level and
seed, so that evaluation and report are the same for both. Zero-shot scores do not see the training images and
are one for all noise levels; the few shots are drawn from a training set, dirt included.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from adlib.base.device import resolve_device
from adlib.base.files import atomic_directory, read_json, write_json
from adlib.base.progress import say
from adlib.base.rng import shuffled
from adlib.config.params import Params
from adlib.config.variants import TRANSDUCTIVE, split_variant
from adlib.config.workspace import FetchedFiles, Workspace
from adlib.data.leaks import check_disjoint
from adlib.data.manifest import DataError, Sample, read_manifest
from adlib.data.rows import FeatureView
from adlib.data.splits import TrainingSet, read_splits
from adlib.embedding.opening import open_rows, open_witnesses
from adlib.fits.files import INFO, NORMALS, SOURCE, seed_name
from adlib.fits.folder import load_detector, write_model, write_scores, write_threshold
from adlib.fits.scoring import calibration_scores, resemblance
from adlib.learning.methods.contract import Detector, NormalityDetector, score_images
from adlib.learning.methods.image_confidence import ImageConfidence
from adlib.learning.methods.registry import AUXILIARY_METHODS

OTHER_SET = "name another auxiliary set, or other categories"


def apply_auxiliary(
    params: Params,
    category: str,
    method: str,
    *,
    models: Path,
    auxiliary: Workspace,
    fetched: FetchedFiles,
    features: Path,
    splits: Path,
    out: Path,
    timing: Path,
) -> None:
    """Score the test images of a category with every auxiliary fit and variant.

    Args:
        params: the whole of params.yaml.
        category: names the log lines only.
        method: a key of `AUXILIARY_METHODS`.
        models: what `train-auxiliary` wrote, one subfolder per seed.
        auxiliary: the auxiliary set's workspace; its features show what the target's images are like.
        fetched: what `fetch` wrote of the target.
        features: folder of the target's features.
        splits: what `contaminate` wrote.
        out: folder to write; one subfolder per fit, those with shots one level deeper.
        timing: JSON file to write; seconds per fit, without the training on the auxiliary set.

    Raises:
        LeakError: an image of the target was trained on.
        DataError: a training set is smaller than the shots.
    """
    device = resolve_device(params.device)
    plan = read_splits(splits)
    samples = {sample.id: sample for sample in read_manifest(fetched.manifest)}
    (opened,) = open_rows(params, [(features, fetched)], device)
    entry = AUXILIARY_METHODS[method]
    detectors: dict[int, Detector] = {}
    trained: dict[int, dict[str, Any]] = {}
    for seed in params.seeds:
        model = models / seed_name(seed)
        trained[seed] = read_json(model / INFO)
        parts = {"the auxiliary set": trained[seed]["train"], "the target": samples}
        check_disjoint(parts, {id: sample.path for id, sample in samples.items()}, OTHER_SET)
        detectors[seed] = load_detector(model, device)
    scored: dict[tuple[int, tuple[str, ...], bool], Applied] = {}
    seconds: dict[str, dict[str, float]] = {}
    with atomic_directory(out) as temporary:
        for name in params.methods.variants(method):
            variant, (_, shots) = Path(name).relative_to(method), split_variant(name)
            mutual = name.endswith(f"/{TRANSDUCTIVE}")
            for training_set in plan.training_sets:
                shown = draw_shots(training_set, samples, shots)
                key = (training_set.seed, shown, mutual)
                if key not in scored:
                    start = time.perf_counter()
                    detector, test = detectors[training_set.seed], opened.select(plan.test)
                    if shown and entry.few_shot:
                        references = opened.select(shown).batch(np.arange(shots), device)
                        detector = entry.few_shot(detector, references)
                    if mutual and entry.transductive:
                        block = params.methods.block(method)
                        detector = entry.transductive(detector, test, block, training_set.seed, device)
                    fitted = time.perf_counter()
                    scores = score_images(detector, test, device)
                    times = {"fit": fitted - start, "score": time.perf_counter() - fitted}
                    scores |= calibration_scores(detector, opened, training_set.calibration, device)
                    about, info = trained[training_set.seed], opened.info
                    scores |= _nearest_normals(
                        detector, about, auxiliary, scores["patch"], test, info.key, device
                    )
                    scored[key] = Applied(detector, scores, times)
                fit = variant / training_set.name
                (temporary / fit).mkdir(parents=True)
                write_model(temporary / fit, method, scored[key].detector)
                write_scores(
                    temporary / fit,
                    scored[key].scores,
                    opened.info,
                    shown,
                    plan.test,
                    [],
                    training_set.calibration,
                    trained[training_set.seed]["confidence"],
                )
                if "test_nearest" in scored[key].scores:
                    for file in (NORMALS, SOURCE):
                        shutil.copyfile(models / file, temporary / fit / file)
                write_threshold(temporary / fit, params.threshold)
                seconds[fit.as_posix()] = scored[key].seconds
            say(f"{category} {name}: {len(plan.test)} images scored")
    write_json(timing, seconds)


class Applied(NamedTuple):
    """A detector, zero-shot or with its shots, and its scores of the test and calibration images."""

    detector: Detector
    scores: dict[str, Tensor]
    seconds: dict[str, float]


def _nearest_normals(
    detector: Detector,
    trained: Mapping[str, Any],
    auxiliary: Workspace,
    patch: Tensor,
    images: FeatureView,
    features_key: str,
    device: torch.device,
) -> dict[str, Tensor]:
    """What the target's images are like among the auxiliary normals; {} for methods that doubt no image."""
    if trained["confidence"] is None or not isinstance(detector, NormalityDetector):
        return {}
    witnesses = open_witnesses(auxiliary, trained["normals"], features_key)
    witnesses = witnesses.subset(np.argsort(witnesses.ids))  # as in the manifest
    alike = torch.zeros(len(witnesses))  # they are labelled normal: none is more suspect than another
    rule = ImageConfidence(**trained["confidence"])
    return resemblance(detector, rule, patch, images, witnesses, alike, device)


def draw_shots(training_set: TrainingSet, samples: Mapping[str, Sample], shots: int) -> tuple[str, ...]:
    """The ids of `shots` training images, drawn by path: few shots are among more of the same seed.

    Raises:
        DataError: the training set is smaller.
    """
    ids = {samples[id].path: id for id in training_set.ids}
    if shots > len(ids):
        raise DataError(f"shots: the training set {training_set.name} holds {len(ids)} images, got {shots}")
    return tuple(ids[path] for path in shuffled(ids, training_set.seed, "shots")[:shots])
