"""train CATEGORY METHOD: features and training sets -> a fitted model and its raw test scores for each."""

import sys
from pathlib import Path

from adlib.config import load_params
from adlib.methods.registry import METHODS
from adlib.stage import stage
from adlib.training import train


@stage
def main(category: str, method: str) -> None:
    outputs = Path("outputs")
    patches, views = outputs / "features" / category, outputs / "views" / category / method
    train(
        load_params(),
        category,
        method,
        features=views if METHODS[method].views else patches,
        splits=outputs / "contaminate" / f"{category}.json",
        out=outputs / "fits" / category / method,
        timing=outputs / "timing" / category / f"{method}.json",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
