"""evaluate CATEGORY METHOD: raw scores and the sealed labels -> metrics and one row an image."""

import sys
from pathlib import Path

from adlib.config import load_params
from adlib.evaluation import evaluate
from adlib.stage import stage


@stage
def main(category: str, method: str) -> None:
    outputs = Path("outputs")
    evaluate(
        load_params(),
        category,
        fetched=outputs / "fetch" / category,
        splits=outputs / "contaminate" / f"{category}.json",
        fits=outputs / "fits" / category / method,
        out=outputs / "evaluation" / category / method,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
