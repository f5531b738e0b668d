"""paint CATEGORY METHOD: training images -> features of their copies with painted defects."""

import sys

from adlib.base.device import resolve_device
from adlib.base.errors import stage
from adlib.base.files import atomic_directory
from adlib.base.progress import say
from adlib.config.params import load_params
from adlib.config.workspace import Workspace
from adlib.data.manifest import read_manifest
from adlib.data.source import read_source
from adlib.data.splits import read_splits
from adlib.embedding.painted import build_painted


@stage
def main(category: str, method: str) -> None:
    params, workspace = load_params(), Workspace()
    out, painted = workspace.painted(category, method), params.methods.block(method).paints
    if painted is None:
        with atomic_directory(out):
            return
    fetched, plan = workspace.fetched(category), read_splits(workspace.splits(category))
    training = {id for training_set in plan.training_sets for id in training_set.ids}
    samples = [sample for sample in read_manifest(fetched.manifest) if sample.id in training]
    embedded = build_painted(
        out,
        samples,
        read_source(fetched.source).folder,
        params.backbone,
        painted.defects,
        image_size=params.image_size,
        keep_aspect=params.keep_aspect,
        device=resolve_device(params.device),
    )
    say(f"{category}: painted {embedded} images, {len(samples) - embedded} from the store")


if __name__ == "__main__":
    main(*sys.argv[1:])
