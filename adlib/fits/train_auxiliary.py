"""Stage `train-auxiliary`: a zero-shot method learns once, from the labelled images of an auxiliary set.

It is the only training that sees labels: the auxiliary set's own. The target's images, labels and features
are out of its reach; `apply-auxiliary` proves that the two sets share no image.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adlib.base.code import code_version
from adlib.base.device import resolve_device
from adlib.base.files import atomic_directory, write_json
from adlib.base.progress import say
from adlib.base.store import content_key
from adlib.config.images import DatasetParams
from adlib.config.params import Params
from adlib.data.images import image_size, read_mask, resize_mask
from adlib.data.manifest import Label, Sample, read_labels, read_manifest, write_rows
from adlib.data.rows import Features
from adlib.datasets import dataset_root
from adlib.embedding.opening import open_rows
from adlib.fits.files import INFO, NORMALS, TIME, seed_name
from adlib.fits.folder import write_model
from adlib.fits.train import stored_fit
from adlib.learning.equations.anomaly_clip import patch_mask
from adlib.learning.methods.contract import AuxiliaryImages
from adlib.learning.methods.registry import AUXILIARY_METHODS, features_folder


@dataclass(frozen=True)
class AuxiliarySource:
    """The opened files of one auxiliary category."""

    samples: list[Sample]
    labels: dict[str, Label]
    features: Features

    @property
    def identity(self) -> list[tuple[str, bool, str]]:
        """Image, label and mask of every sample, by content."""
        labels = (self.labels[sample.id] for sample in self.samples)
        return [(label.id, label.anomalous, label.mask_sha256) for label in labels]

    @property
    def normals(self) -> list[Sample]:
        """The normal images."""
        return [sample for sample in self.samples if not self.labels[sample.id].anomalous]

    def read(self, dataset: DatasetParams, keep_aspect: bool) -> AuxiliaryImages:
        """Features, labels and masks; masks follow the images into the square frame, then to the patches."""
        ids = [sample.id for sample in self.samples]
        anomalous = np.array([self.labels[id].anomalous for id in ids])
        view, info = self.features.select(ids), self.features.info
        if info.grid is None or not any(self.labels[id].mask for id in ids):
            return AuxiliaryImages(view, anomalous, None)
        root = dataset_root(dataset.name, dataset.root, dataset.version)
        masks = np.zeros((len(ids), info.grid[0] * info.grid[1]), dtype=bool)
        for row, sample in zip(masks, self.samples, strict=True):
            mask = self.labels[sample.id].mask
            if mask:
                native = read_mask(root / mask, image_size(root / sample.path))
                framed = resize_mask(native, info.image_size, keep_aspect)
                row[:] = patch_mask(torch.from_numpy(framed)[None], info.grid)[0].numpy()
        return AuxiliaryImages(view, anomalous, masks)


@dataclass(frozen=True)
class AuxiliaryJob:
    """Everything an auxiliary fit depends on; its hash is the name of the stored result."""

    method: str
    params: Params
    sources: dict[str, AuxiliarySource]
    seed: int
    device: torch.device

    @property
    def key(self) -> str:
        """Settings, images with labels and masks, seed, features and code."""
        method = AUXILIARY_METHODS[self.method]
        return content_key(
            method=self.method,
            settings=method.settings(self.params).model_dump(mode="json"),
            images={category: source.identity for category, source in self.sources.items()},
            features={category: source.features.info.key for category, source in self.sources.items()},
            seed=self.seed,
            device=self.device.type,
            code=code_version(method.fit.__module__, "adlib.learning.equations.anomaly_clip"),
        )

    def run(self, folder: Path) -> None:
        """Fit, and write model, log, identities and seconds into `folder`."""
        method = AUXILIARY_METHODS[self.method]
        images = {
            category: source.read(self.params.auxiliary, self.params.keep_aspect)
            for category, source in self.sources.items()
        }
        start = time.perf_counter()
        fit = method.fit(method.settings(self.params), images, self.seed, self.device)
        seconds = {"fit": time.perf_counter() - start}
        write_model(folder, self.method, fit.detector)
        ids = sorted(sample.id for source in self.sources.values() for sample in source.samples)
        weights = {source.features.info.weights_sha256 for source in self.sources.values()}
        rule = None if fit.confidence is None else asdict(fit.confidence)
        normals = {name: [sample.id for sample in source.normals] for name, source in self.sources.items()}
        info = {"train": ids, "normals": normals, "weights_sha256": sorted(weights)}
        write_json(folder / INFO, {**info, "confidence": rule, "log": fit.log})
        write_json(folder / TIME, seconds)


def train_auxiliary(params: Params, method: str, outputs: Path, out: Path, timing: Path) -> None:
    """Fit a method on the auxiliary set, once a seed.

    Args:
        params: the whole of params.yaml.
        method: a key of `AUXILIARY_METHODS`.
        outputs: the auxiliary set's folder of `fetch`, `features` and `clip`.
        out: folder to write; a subfolder a seed, and the manifest of the set's normal images.
        timing: JSON file to write; seconds a seed.
    """
    device = resolve_device(params.device)
    sources = open_sources(params, method, outputs, device)
    seconds: dict[str, Any] = {}
    with atomic_directory(out) as temporary:
        # Outside the stored part: paths may change where contents do not.
        normals = [sample for source in sources.values() for sample in source.normals]
        write_rows(temporary / NORMALS, normals, Sample)
        for seed in params.seeds:
            name = seed_name(seed)
            folder = temporary / name
            folder.mkdir()
            job = AuxiliaryJob(method, params, sources, seed, device)
            seconds[name], taken = stored_fit(job, folder)
            count = sum(len(source.samples) for source in sources.values())
            say(f"auxiliary {method} {name}: {count} images, fitted {taken}")
    write_json(timing, seconds)


def open_sources(
    params: Params, method: str, outputs: Path, device: torch.device
) -> dict[str, AuxiliarySource]:
    """Manifest, labels and the method's kind of features of every auxiliary category."""
    fetched = {category: outputs / "fetch" / category for category in params.auxiliary.categories}
    samples = {category: read_manifest(folder / "manifest.csv") for category, folder in fetched.items()}
    folders = [
        (features_folder(outputs, category, method), manifest) for category, manifest in samples.items()
    ]
    features = open_rows(params, params.auxiliary, folders, device)
    return {
        category: AuxiliarySource(samples[category], read_labels(folder / "labels.csv"), rows)
        for (category, folder), rows in zip(fetched.items(), features, strict=True)
    }
