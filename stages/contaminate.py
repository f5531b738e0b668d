"""contaminate CATEGORY: manifest, sealed labels, excluded.csv -> training sets, test set and their audit."""

import sys

from adlib.base.errors import stage
from adlib.base.files import write_json
from adlib.base.progress import say
from adlib.base.tables import read_csv
from adlib.config.params import load_params
from adlib.config.workspace import Workspace
from adlib.data.contaminate import contaminate
from adlib.data.excluded import read_excluded
from adlib.data.leaks import check_splits, near_duplicates
from adlib.data.manifest import read_labels, read_manifest
from adlib.data.splits import write_splits


@stage
def main(category: str) -> None:
    params, workspace = load_params(), Workspace()
    fetched = workspace.fetched(category)
    samples, labels = read_manifest(fetched.manifest), read_labels(fetched.labels)
    excluded = {row.id for row in read_excluded("excluded.csv", category)}
    splits = contaminate(
        samples,
        labels,
        levels=params.noise.levels,
        seeds=params.seeds,
        reserve=params.noise.reserve,
        overlap=params.noise.overlap,
        split_seed=params.dataset.split_seed,
        contamination=params.threshold.contamination,
        excluded=excluded,
    )
    paths = {sample.id: sample.path for sample in samples}
    check_splits(splits, labels, paths)
    hashes = {row["id"]: row["hash"] for row in read_csv(fetched.hashes)}
    lookalikes = near_duplicates(splits, hashes, paths)
    write_json(workspace.lookalikes(category), lookalikes)
    if lookalikes["pairs"]:
        say(f"{category}: {len(lookalikes['pairs'])} near-duplicates across the split; see `adlib audit`")
    write_splits(workspace.splits(category), splits)
    if excluded:
        say(f"{category}: {len(excluded)} images in excluded.csv are left out of training")
    say(f"{category}: {len(splits.training_sets)} training sets, {len(splits.test)} test images")


if __name__ == "__main__":
    main(*sys.argv[1:])
