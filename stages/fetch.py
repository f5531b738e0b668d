"""fetch CATEGORY [auxiliary]: images of a category -> manifest.csv and, apart, the sealed labels.csv."""

import sys

from adlib.config import load_params
from adlib.data.fetch import fetch
from adlib.data.manifest import Label, Sample, write_rows
from adlib.io import atomic_directory
from adlib.progress import say
from adlib.stage import image_set, stage


@stage
def main(category: str, block: str = "dataset") -> None:
    dataset, outputs = image_set(load_params(), block)
    fetched = fetch(dataset, category)
    with atomic_directory(outputs / "fetch" / category) as folder:
        write_rows(folder / "manifest.csv", fetched.samples, Sample)
        write_rows(folder / "labels.csv", fetched.labels, Label)
    train = sum(sample.split == "train" for sample in fetched.samples)
    test = len(fetched.samples) - train
    say(f"{category}: {train} training and {test} test images, {fetched.duplicates} duplicates left out")


if __name__ == "__main__":
    main(*sys.argv[1:])
