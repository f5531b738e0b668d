"""evaluate CATEGORY METHOD: raw scores and the sealed labels -> metrics and one row an image."""

import sys

from adlib.base.errors import stage
from adlib.config.params import load_params
from adlib.config.workspace import OUTPUTS
from adlib.evaluation.evaluate import evaluate


@stage
def main(category: str, method: str) -> None:
    params = load_params()
    for name in params.methods.variants(method):
        evaluate(
            params,
            category,
            fetched=OUTPUTS / "fetch" / category,
            splits=OUTPUTS / "contaminate" / f"{category}.json",
            fits=OUTPUTS / "fits" / category / name,
            out=OUTPUTS / "evaluation" / category / name,
            maps=OUTPUTS / "maps" / category / name,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
