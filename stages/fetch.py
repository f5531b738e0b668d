"""fetch CATEGORY [auxiliary]: a category's images -> manifest.csv, hashes.csv and, apart, labels.csv."""

import sys
from collections import Counter

from adlib.base.errors import stage
from adlib.base.files import atomic_directory
from adlib.base.progress import say
from adlib.base.tables import write_csv
from adlib.config.params import load_params
from adlib.config.workspace import image_set
from adlib.data.manifest import Label, Sample, write_rows
from adlib.datasets.fetch import fetch


@stage
def main(category: str, block: str = "dataset") -> None:
    dataset, outputs = image_set(load_params(), block)
    fetched = fetch(dataset, category)
    with atomic_directory(outputs / "fetch" / category) as folder:
        write_rows(folder / "manifest.csv", fetched.samples, Sample)
        write_rows(folder / "labels.csv", fetched.labels, Label)
        write_csv(folder / "hashes.csv", ("id", "hash"), sorted(fetched.hashes.items()))
    counts = Counter(sample.split for sample in fetched.samples)
    images = (
        f"{counts['train']} training, {counts['calibration']} calibration and {counts['test']} test images"
    )
    say(f"{category}: {images}, {fetched.duplicates} duplicates left out")
    if not counts["train"]:
        say(f"{category}: no normal image; only zero-shot methods (methods.auxiliary) can be measured on it")


if __name__ == "__main__":
    main(*sys.argv[1:])
