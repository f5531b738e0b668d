"""fetch CATEGORY [auxiliary]: a category's images -> manifest, source, hashes and, apart, sealed labels."""

import sys
from collections import Counter

from adlib.base.errors import stage
from adlib.base.files import atomic_directory
from adlib.base.progress import say
from adlib.base.tables import write_csv
from adlib.config.params import load_params
from adlib.config.workspace import FetchedFiles, Workspace
from adlib.data.manifest import Label, Sample, write_rows
from adlib.data.source import write_source
from adlib.datasets.fetch import fetch


@stage
def main(category: str, block: str = "dataset") -> None:
    params, workspace = load_params(), Workspace()
    sets = {"dataset": (params.dataset, workspace), "auxiliary": (params.auxiliary, workspace.auxiliary)}
    dataset, workspace = sets[block]
    fetched = fetch(dataset, category)
    with atomic_directory(workspace.fetched(category).folder) as folder:
        files = FetchedFiles(folder)
        write_rows(files.manifest, fetched.samples, Sample)
        write_source(files.source, fetched.source)
        write_rows(files.labels, fetched.labels, Label)
        write_csv(files.hashes, ("id", "hash"), sorted(fetched.hashes.items()))
    counts = Counter(sample.split for sample in fetched.samples)
    images = (
        f"{counts['train']} training, {counts['calibration']} calibration and {counts['test']} test images"
    )
    say(f"{category}: {images}, {fetched.duplicates} duplicates left out")
    if not counts["train"]:
        say(f"{category}: no normal image; only zero-shot methods (methods.auxiliary) can be measured on it")


if __name__ == "__main__":
    main(*sys.argv[1:])
