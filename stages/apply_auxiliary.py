"""apply_auxiliary CATEGORY METHOD: a model of the auxiliary set and target features -> raw test scores."""

import sys

from adlib.base.errors import stage
from adlib.config.params import load_params
from adlib.config.workspace import OUTPUTS
from adlib.fits.apply_auxiliary import apply_auxiliary
from adlib.learning.methods.registry import features_folder


@stage
def main(category: str, method: str) -> None:
    apply_auxiliary(
        load_params(),
        category,
        method,
        models=OUTPUTS / "auxiliary" / "fits" / method,
        auxiliary=OUTPUTS / "auxiliary",
        manifest=OUTPUTS / "fetch" / category / "manifest.csv",
        features=features_folder(OUTPUTS, category, method),
        splits=OUTPUTS / "contaminate" / f"{category}.json",
        out=OUTPUTS / "fits" / category / method,
        timing=OUTPUTS / "timing" / category / f"{method}.json",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
