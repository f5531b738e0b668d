"""apply_auxiliary CATEGORY METHOD: a model of the auxiliary set and target features -> raw test scores."""

import sys

from adlib.base.errors import stage
from adlib.config.params import load_params
from adlib.config.workspace import Workspace
from adlib.fits.apply_auxiliary import apply_auxiliary
from adlib.learning.methods.registry import AUXILIARY_METHODS


@stage
def main(category: str, method: str) -> None:
    workspace = Workspace()
    apply_auxiliary(
        load_params(),
        category,
        method,
        models=workspace.auxiliary.models(method),
        auxiliary=workspace.auxiliary,
        fetched=workspace.fetched(category),
        features=workspace.rows(AUXILIARY_METHODS[method].rows, category, method),
        splits=workspace.splits(category),
        out=workspace.fits(category, method),
        timing=workspace.timing(method, category),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
