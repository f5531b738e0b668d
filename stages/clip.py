"""clip CATEGORY METHOD [auxiliary]: the manifest's images -> CLIP's tokens, unless they are too many."""

import sys

from adlib.base.device import resolve_device
from adlib.base.errors import stage
from adlib.base.progress import say
from adlib.config.params import load_params
from adlib.config.workspace import image_set
from adlib.data.manifest import read_manifest
from adlib.datasets import dataset_root
from adlib.embedding.tokens import build_tokens


@stage
def main(category: str, method: str, block: str = "dataset") -> None:
    params = load_params()
    dataset, outputs = image_set(params, block)
    samples = read_manifest(outputs / "fetch" / category / "manifest.csv")
    embedded = build_tokens(
        outputs / "clip" / category / method,
        samples,
        dataset_root(dataset.name, dataset.root, dataset.version),
        params.clip,
        keep_aspect=params.keep_aspect,
        device=resolve_device(params.device),
    )
    if embedded is not None:
        say(f"{category}: embedded {embedded} images, {len(samples) - embedded} from the store")


if __name__ == "__main__":
    main(*sys.argv[1:])
