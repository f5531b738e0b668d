"""train CATEGORY METHOD: features and training sets -> a fitted model and its raw test scores for each."""

import sys

from adlib.base.errors import stage
from adlib.config.params import load_params
from adlib.config.workspace import OUTPUTS
from adlib.fits.train import train
from adlib.learning.methods.registry import METHODS


@stage
def main(category: str, method: str) -> None:
    patches, views = OUTPUTS / "features" / category, OUTPUTS / "views" / category / method
    train(
        load_params(),
        category,
        method,
        features=views if METHODS[method].views else patches,
        splits=OUTPUTS / "contaminate" / f"{category}.json",
        out=OUTPUTS / "fits" / category / method,
        timing=OUTPUTS / "timing" / category / f"{method}.json",
        painted=OUTPUTS / "painted" / category / method,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
