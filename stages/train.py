"""train CATEGORY METHOD: features and training sets -> a fitted model and its raw test scores for each."""

import sys

from adlib.base.errors import stage
from adlib.config.params import load_params
from adlib.config.workspace import Workspace
from adlib.fits.train import train
from adlib.learning.methods.registry import METHODS


@stage
def main(category: str, method: str) -> None:
    workspace = Workspace()
    train(
        load_params(),
        category,
        method,
        features=workspace.rows(METHODS[method].rows, category, method),
        splits=workspace.splits(category),
        out=workspace.fits(category, method),
        timing=workspace.timing(method, category),
        painted=workspace.painted(category, method),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
