"""features CATEGORY [auxiliary]: the manifest's images -> one float16 row an image, through the backbone."""

import sys

from adlib.base.device import resolve_device
from adlib.base.errors import stage
from adlib.base.progress import say
from adlib.config.params import load_params
from adlib.config.workspace import image_set
from adlib.data.manifest import read_manifest
from adlib.datasets import dataset_root
from adlib.embedding.patches import build_features


@stage
def main(category: str, block: str = "dataset") -> None:
    params = load_params()
    dataset, outputs = image_set(params, block)
    samples = read_manifest(outputs / "fetch" / category / "manifest.csv")
    embedded = build_features(
        outputs / "features" / category,
        samples,
        dataset_root(dataset.name, dataset.root, dataset.version),
        params.backbone,
        image_size=params.image_size,
        keep_aspect=params.keep_aspect,
        device=resolve_device(params.device),
    )
    say(f"{category}: embedded {embedded} images, {len(samples) - embedded} from the store")


if __name__ == "__main__":
    main(*sys.argv[1:])
