"""views CATEGORY METHOD: the manifest's images -> rotated views at several scales, one row an image."""

import sys

from adlib.config import load_params
from adlib.data.layouts import dataset_root
from adlib.data.manifest import read_manifest
from adlib.device import resolve_device
from adlib.features.views import build_views
from adlib.progress import say
from adlib.stage import OUTPUTS, stage


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
