"""maps CATEGORY METHOD: a flow's fits and the images -> where in the images their scores come from."""

import sys

from adlib.base.errors import stage
from adlib.config.params import load_params
from adlib.config.workspace import OUTPUTS
from adlib.data.manifest import read_manifest
from adlib.datasets import dataset_root
from adlib.fits.maps import write_maps


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
