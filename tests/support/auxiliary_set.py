"""A small auxiliary set and a target on disk, as `fetch`, `features` and `contaminate` leave them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from toys import toy_features

from adlib.base.files import sha256_file, write_json
from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.data.manifest import Label, Sample, write_rows
from adlib.data.rows import INFO, ROWS, Features
from adlib.data.source import Source, write_source
from adlib.data.splits import Splits, TrainingSet, write_splits
from adlib.fits.apply_auxiliary import apply_auxiliary
from adlib.fits.train_auxiliary import train_auxiliary
from adlib.learning.methods.registry import rows_of

CATEGORIES = ("cloth", "stone")
TARGET = "tile"
NORMALS, ANOMALIES, SIZE = 12, 6, 32


def configure(params: Params, root: Path, **changes: object) -> Params:
    """The parameters of a run of `af-tokens` alone on these sets."""
    auxiliary = params.auxiliary.model_copy(update={"root": str(root), "categories": CATEGORIES})
    methods = params.methods.model_copy(
        update={"plain": (), "confident": (), "auxiliary": ("af-tokens",), **changes}
    )
    return params.model_copy(update={"auxiliary": auxiliary, "methods": methods, "image_size": SIZE})


def write_sets(folder: Path) -> Path:
    """Images with masks and features below `folder/data` and `folder/outputs`; returns the outputs."""
    for seed, category in enumerate(CATEGORIES):
        samples, labels, features = _category(folder / "data", category, seed)
        write_category(folder / "outputs" / "auxiliary", category, samples, labels, features, folder / "data")
    features = planted(seed=9)
    samples = [Sample(id, f"{id}.png", "test" if id[0] == "a" else "train") for id in features.info.ids]
    write_category(folder / "outputs", TARGET, samples, None, features, folder / "data")
    train = tuple(id for id in features.info.ids[:8])
    sets = [TrainingSet(0.0, 0, train), TrainingSet(0.1, 0, (features.info.ids[-1], *train))]
    write_splits(
        folder / "outputs" / "contaminate" / f"{TARGET}.json",
        Splits(features.info.ids[8:-1], False, tuple(sets)),
    )
    return folder / "outputs"


def learn(params: Params, outputs: Path, method: str) -> Path:
    """Stage `train-auxiliary` on the sets; returns the folder of the fits."""
    workspace = Workspace(outputs).auxiliary
    fits = workspace.outputs / "fits"
    train_auxiliary(params, method, workspace, fits, workspace.outputs / "timing.json")
    return fits


def apply_to_target(params: Params, outputs: Path, method: str) -> Path:
    """Stage `apply-auxiliary` on the target, after `learn`; returns the folder of the fits."""
    workspace = Workspace(outputs)
    apply_auxiliary(
        params,
        TARGET,
        method,
        models=workspace.auxiliary.outputs / "fits",
        auxiliary=workspace.auxiliary,
        fetched=workspace.fetched(TARGET),
        features=workspace.rows(rows_of(method), TARGET, method),
        splits=workspace.splits(TARGET),
        out=outputs / "fits",
        timing=outputs / "timing.json",
    )
    return outputs / "fits"


def write_category(
    outputs: Path,
    category: str,
    samples: list[Sample],
    labels: list[Label] | None,
    features: Features,
    root: Path,
) -> None:
    """Manifest, labels and features of one category."""
    fetched, embedded = Workspace(outputs).fetched(category), Workspace(outputs).rows("patches", category)
    write_rows(fetched.manifest, samples, Sample)
    write_source(fetched.source, Source(str(root)))
    if labels is not None:
        write_rows(fetched.labels, labels, Label)
    embedded.mkdir(parents=True)
    np.save(embedded / ROWS, _rows(features))
    info = features.info
    write_json(
        embedded / INFO,
        {
            "ids": info.ids, "grid": info.grid, "image_size": info.image_size,
            "weights_sha256": info.weights_sha256, "key": info.key,
        },
    )  # fmt: skip


def _category(root: Path, category: str, seed: int) -> tuple[list[Sample], list[Label], Features]:
    """Images whose anomalies cover the first row of patches, as the anomalies of `toy_features` do."""
    toy = planted(seed)
    rng = np.random.default_rng(seed)
    samples, labels = [], []
    for i, name in enumerate(toy.info.ids):
        path, mask = f"{category}/{name}.png", f"{category}/{name}_mask.png"
        (root / category).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)).save(root / path)
        id = sha256_file(root / path)
        samples.append(Sample(id, path, "train" if i < NORMALS // 2 else "test"))
        if name[0] == "n":
            labels.append(Label(id, "good", "", ""))
            continue
        pixels = np.zeros((SIZE, SIZE), dtype=np.uint8)
        pixels[: SIZE // 8] = 255
        Image.fromarray(pixels).save(root / mask)
        labels.append(Label(id, "cut", mask, sha256_file(root / mask)))
    ids = tuple(sample.id for sample in samples)
    return samples, labels, Features(replace(toy.info, ids=ids), _rows(toy))


def planted(seed: int) -> Features:
    """`toy_features` whose anomalies point the same way in every category, so that they transfer."""
    toy = toy_features(NORMALS, ANOMALIES, seed=seed)
    rows = _rows(toy).copy()
    rows[NORMALS:, : rows.shape[1] // 8, 4:6] += 6
    return Features(toy.info, rows)


def _rows(features: Features) -> np.ndarray:
    return np.asarray(features.select(features.info.ids).rows)
