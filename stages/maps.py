"""maps CATEGORY METHOD: a flow's fits and the images -> where in the images their scores come from."""

import sys

from adlib.config import load_params
from adlib.data.layouts import dataset_root
from adlib.data.manifest import read_manifest
from adlib.gradient_maps import write_maps
from adlib.stage import OUTPUTS, stage


@stage
def main(category: str, method: str) -> None:
    params = load_params()
    write_maps(
        params,
        category,
        method,
        {sample.id: sample for sample in read_manifest(OUTPUTS / "fetch" / category / "manifest.csv")},
        dataset_root(params.dataset.name, params.dataset.root, params.dataset.version),
        fits=OUTPUTS / "fits" / category / method,
        out=OUTPUTS / "maps" / category / method,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
