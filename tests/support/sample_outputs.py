"""What the pipeline leaves of a drawn category and an auxiliary one before it trains, on random weights."""

from pathlib import Path

from toys import CPU, ROOT

from adlib.config.images import DatasetParams
from adlib.config.params import Params
from adlib.config.workspace import Workspace
from adlib.data.contaminate import contaminate
from adlib.data.manifest import Label, Sample, write_rows
from adlib.data.source import write_source
from adlib.data.splits import write_splits
from adlib.datasets.fetch import Fetched, fetch
from adlib.embedding.patches import build_features

CATEGORY, AUXILIARY = "weave", "brushed"
SMALL = {
    "device": "cpu",
    "image_size": 64,
    "dataset.name": "samples",
    "dataset.root": str(ROOT / "samples"),
    "dataset.categories": [CATEGORY],
    "auxiliary.root": str(ROOT / "samples"),
    "auxiliary.categories": [AUXILIARY],
    "backbone.weights": "random",
    "methods.cozad.epochs": 1,
    "methods.simplenet.patches_per_image": 16,
    "methods.comet-sn.epochs": 1,
    "methods.comet-sn.distances.steps": 20,
}


def prepare(params: Params, outputs: Path) -> None:
    """Fill the outputs folder; the caller sets the store."""
    embedded(params, params.auxiliary, AUXILIARY, outputs / "auxiliary")
    fetched = embedded(params, params.dataset, CATEGORY, outputs)
    splits = contaminate(
        fetched.samples, {label.id: label for label in fetched.labels},
        levels=[0.0, 0.1], seeds=[0], reserve=0.4, overlap=False, split_seed=0,
    )  # fmt: skip
    write_splits(outputs / "contaminate" / f"{CATEGORY}.json", splits)


def embedded(params: Params, dataset: DatasetParams, category: str, outputs: Path) -> Fetched:
    """What `fetch` and `features` leave of a category."""
    fetched = fetch(dataset, category)
    files = Workspace(outputs).fetched(category)
    write_rows(files.manifest, fetched.samples, Sample)
    write_source(files.source, fetched.source)
    write_rows(files.labels, fetched.labels, Label)
    build_features(
        outputs / "features" / category, fetched.samples, Path(dataset.root), params.backbone,
        image_size=64, keep_aspect=False, device=CPU,
    )  # fmt: skip
    return fetched
