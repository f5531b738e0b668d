"""train_auxiliary METHOD: features, labels, masks of the auxiliary set -> a model a seed, for all targets."""

import sys

from adlib.base.errors import stage
from adlib.config.params import load_params
from adlib.config.workspace import OUTPUTS
from adlib.fits.train_auxiliary import train_auxiliary


@stage
def main(method: str) -> None:
    outputs = OUTPUTS / "auxiliary"
    train_auxiliary(
        load_params(),
        method,
        outputs,
        out=outputs / "fits" / method,
        timing=outputs / "timing" / f"{method}.json",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
