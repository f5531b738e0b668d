"""train_auxiliary METHOD: features, labels, masks of the auxiliary set -> a model a seed, for all targets."""

import sys

from adlib.auxiliary import train_auxiliary
from adlib.config import load_params
from adlib.stage import OUTPUTS, stage


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
