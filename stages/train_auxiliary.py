"""train_auxiliary METHOD: features, labels, masks of the auxiliary set -> one model per seed."""

import sys

from adlib.base.errors import stage
from adlib.config.params import load_params
from adlib.config.workspace import Workspace
from adlib.fits.train_auxiliary import train_auxiliary


@stage
def main(method: str) -> None:
    workspace = Workspace().auxiliary
    train_auxiliary(
        load_params(), method, workspace, out=workspace.models(method), timing=workspace.timing(method)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
