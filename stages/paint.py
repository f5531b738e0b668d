"""paint CATEGORY METHOD: training images -> features of their copies with painted defects."""

import sys

from adlib.config import load_params
from adlib.data.contaminate import read_splits
from adlib.data.layouts import dataset_root
from adlib.data.manifest import read_manifest
from adlib.device import resolve_device
from adlib.features.painted import build_painted
from adlib.io import atomic_directory
from adlib.progress import say
from adlib.stage import OUTPUTS, stage


@stage
def main(category: str, method: str) -> None:
    params = load_params()
    out, painted = OUTPUTS / "painted" / category / method, params.methods.painted(method)
    if painted is None:
        with atomic_directory(out):
            return
    plan = read_splits(OUTPUTS / "contaminate" / f"{category}.json")
    training = {id for training_set in plan.training_sets for id in training_set.ids}
    manifest = read_manifest(OUTPUTS / "fetch" / category / "manifest.csv")
    samples = [sample for sample in manifest if sample.id in training]
    embedded = build_painted(
        out,
        samples,
        dataset_root(params.dataset.name, params.dataset.root, params.dataset.version),
        params.backbone,
        painted.defects,
        image_size=params.image_size,
        keep_aspect=params.keep_aspect,
        device=resolve_device(params.device),
    )
    say(f"{category}: painted {embedded} images, {len(samples) - embedded} from the store")


if __name__ == "__main__":
    main(*sys.argv[1:])
