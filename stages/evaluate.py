"""evaluate CATEGORY METHOD: raw scores and the sealed labels -> metrics and one row per image."""

import sys

from adlib.base.errors import stage
from adlib.config.params import load_params
from adlib.config.workspace import Workspace
from adlib.evaluation.evaluate import evaluate
from adlib.fits.files import variants


@stage
def main(category: str, method: str) -> None:
    params, workspace = load_params(), Workspace()
    for name in variants(workspace.fits(category, method)):
        evaluate(
            params,
            category,
            fetched=workspace.fetched(category),
            splits=workspace.splits(category),
            fits=workspace.fits(category, name),
            out=workspace.evaluation(category, name),
            maps=workspace.maps(category, name),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
