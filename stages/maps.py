"""maps CATEGORY METHOD: a flow's fits and the images -> where in the images their scores come from."""

import sys

from adlib.base.errors import stage
from adlib.config.params import load_params
from adlib.config.workspace import Workspace
from adlib.data.manifest import read_manifest
from adlib.data.source import read_source
from adlib.fits.maps import write_maps


@stage
def main(category: str, method: str) -> None:
    workspace = Workspace()
    fetched = workspace.fetched(category)
    write_maps(
        load_params(),
        category,
        method,
        {sample.id: sample for sample in read_manifest(fetched.manifest)},
        read_source(fetched.source).folder,
        fits=workspace.fits(category, method),
        out=workspace.maps(category, method),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
