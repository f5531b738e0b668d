"""features CATEGORY [auxiliary]: the manifest's images -> one float16 row an image, through the backbone."""

import sys

from adlib.config import load_params
from adlib.data.layouts import dataset_root
from adlib.data.manifest import read_manifest
from adlib.device import resolve_device
from adlib.features.build import build_features
from adlib.progress import say
from adlib.stage import image_set, stage


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
