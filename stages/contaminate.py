"""contaminate CATEGORY: manifest and sealed labels -> the training sets and the one test set."""

import sys
from pathlib import Path

from adlib.config import load_params
from adlib.data.contaminate import contaminate, write_splits
from adlib.data.manifest import read_labels, read_manifest
from adlib.progress import say
from adlib.stage import stage


@stage
def main(category: str) -> None:
    params = load_params()
    fetched = Path("outputs/fetch") / category
    splits = contaminate(
        read_manifest(fetched / "manifest.csv"),
        read_labels(fetched / "labels.csv"),
        levels=params.noise.levels,
        seeds=params.seeds,
        reserve=params.noise.reserve,
        overlap=params.noise.overlap,
        split_seed=params.dataset.split_seed,
        contamination=params.threshold.contamination,
    )
    write_splits(Path("outputs/contaminate") / f"{category}.json", splits)
    say(f"{category}: {len(splits.training_sets)} training sets, {len(splits.test)} test images")


if __name__ == "__main__":
    main(*sys.argv[1:])
