"""views CATEGORY METHOD: the manifest's images -> rotated views at several scales, one row an image."""

import sys

from adlib.base.device import resolve_device
from adlib.base.errors import stage
from adlib.base.progress import say
from adlib.config.params import load_params
from adlib.config.workspace import OUTPUTS
from adlib.data.manifest import read_manifest
from adlib.datasets import dataset_root
from adlib.embedding.rotations import build_views


@stage
def main(category: str, method: str) -> None:
    params = load_params()
    samples = read_manifest(OUTPUTS / "fetch" / category / "manifest.csv")
    embedded = build_views(
        OUTPUTS / "views" / category / method,
        samples,
        dataset_root(params.dataset.name, params.dataset.root, params.dataset.version),
        params.views,
        keep_aspect=params.keep_aspect,
        device=resolve_device(params.device),
    )
    say(f"{category}: embedded {embedded} images, {len(samples) - embedded} from the store")


if __name__ == "__main__":
    main(*sys.argv[1:])
