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
from adlib.base.store import content_key, stored_folder
from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.data.images import image_size, read_mask, resize_mask
from adlib.data.manifest import Label, Sample, read_labels, read_manifest, write_rows
from adlib.data.rows import Features
from adlib.data.source import Source, read_source, write_source
from adlib.embedding.opening import open_rows
from adlib.embedding.tokens import chosen_blocks, open_clip_tower
from adlib.fits.files import INFO, NORMALS, SOURCE, TIME, seed_name
from adlib.fits.folder import take_seconds, write_model
from adlib.learning.equations.anomaly_clip import patch_mask
from adlib.learning.methods.contract import AuxiliaryImages
from adlib.learning.methods.registry import AUXILIARY_METHODS


@dataclass(frozen=True)
class AuxiliarySource:
    """The opened files of one auxiliary category."""

    samples: list[Sample]
    labels: dict[str, Label]
    features: Features
    source: Source

    @property
    def identity(self) -> list[tuple[str, bool, str]]:
        """Image, label and mask of every sample, by content."""
        labels = (self.labels[sample.id] for sample in self.samples)
        return [(label.id, label.anomalous, label.mask_sha256) for label in labels]

    @property
    def normals(self) -> list[Sample]:
        """The normal images."""
        return [sample for sample in self.samples if not self.labels[sample.id].anomalous]

    def read(self, keep_aspect: bool) -> AuxiliaryImages:
        """Features, labels and masks; masks follow the images into the square frame, then to the patches."""
        ids = [sample.id for sample in self.samples]
        anomalous = np.array([self.labels[id].anomalous for id in ids])
        view, info = self.features.select(ids), self.features.info
        if info.grid is None or not any(self.labels[id].mask for id in ids):
            return AuxiliaryImages(view, anomalous, None)
        root = self.source.folder
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
            settings=self.params.settings(self.method).model_dump(mode="json"),
            images={category: source.identity for category, source in self.sources.items()},
            features={category: source.features.info.key for category, source in self.sources.items()},
            seed=self.seed,
            device=self.device.type,
            code=code_version(method.fit.__module__, "adlib.learning.equations.anomaly_clip"),
        )

    def _tower(self) -> dict[str, Any]:
        """The frozen CLIP model behind the tokens, for methods that read those and train prompts."""
        clip = self.params.clip
        if AUXILIARY_METHODS[self.method].rows != "tokens":
            return {}
        return {"clip": open_clip_tower(clip, self.device), "blocks": len(chosen_blocks(clip))}

    def run(self, folder: Path) -> None:
        """Fit, and write model, log, identities and seconds into `folder`."""
        method = AUXILIARY_METHODS[self.method]
        images = {category: source.read(self.params.keep_aspect) for category, source in self.sources.items()}
        start = time.perf_counter()
        fit = method.fit(self.params.settings(self.method), images, self.seed, self.device, **self._tower())
        seconds = {"fit": time.perf_counter() - start}
        write_model(folder, self.method, fit.detector)
        ids = sorted(sample.id for source in self.sources.values() for sample in source.samples)
        weights = {source.features.info.weights_sha256 for source in self.sources.values()}
        rule = None if fit.confidence is None else asdict(fit.confidence)
        normals = {name: [sample.id for sample in source.normals] for name, source in self.sources.items()}
        info = {"train": ids, "normals": normals, "weights_sha256": sorted(weights)}
        write_json(folder / INFO, {**info, "confidence": rule, "log": fit.log})
        write_json(folder / TIME, seconds)


def train_auxiliary(params: Params, method: str, workspace: Workspace, out: Path, timing: Path) -> None:
    """Fit a method on the auxiliary set, once per seed.

    Args:
        params: the whole of params.yaml.
        method: a key of `AUXILIARY_METHODS`.
        workspace: the auxiliary set's.
        out: folder to write; one subfolder per seed, and the manifest of the set's normal images.
        timing: JSON file to write; seconds per seed.
    """
    device = resolve_device(params.device)
    sources = open_sources(params, method, workspace, device)
    seconds: dict[str, Any] = {}
    with atomic_directory(out) as temporary:
        # Outside the stored part: paths may change where contents do not.
        normals = [sample for source in sources.values() for sample in source.normals]
        write_rows(temporary / NORMALS, normals, Sample)
        write_source(temporary / SOURCE, next(iter(sources.values())).source)
        for seed in params.seeds:
            name = seed_name(seed)
            folder = temporary / name
            folder.mkdir()
            job = AuxiliaryJob(method, params, sources, seed, device)
            with stored_folder("fits", job.key, folder) as missing:
                if missing is not None:
                    job.run(missing)
            seconds[name] = taken = take_seconds(folder)
            count = sum(len(source.samples) for source in sources.values())
            how = f"in {taken['fit']:.1f} s" if missing else "from the store"
            say(f"auxiliary {method} {name}: {count} images, fitted {how}")
    write_json(timing, seconds)


def open_sources(
    params: Params, method: str, workspace: Workspace, device: torch.device
) -> dict[str, AuxiliarySource]:
    """Manifest, labels and the method's kind of features of every auxiliary category."""
    kind, categories = AUXILIARY_METHODS[method].rows, params.auxiliary.categories
    fetched = [workspace.fetched(category) for category in categories]
    folders = [workspace.rows(kind, category, method) for category in categories]
    features = open_rows(params, list(zip(folders, fetched, strict=True)), device)
    return {
        category: AuxiliarySource(
            read_manifest(files.manifest), read_labels(files.labels), rows, read_source(files.source)
        )
        for category, files, rows in zip(categories, fetched, features, strict=True)
    }
