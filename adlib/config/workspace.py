"""Every path below `outputs/` by its name: stages and commands ask here, nobody joins folder names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Rows = Literal["patches", "views", "tokens"]  # the kinds of features that a method can read
FOLDERS: dict[Rows, str] = {"patches": "features", "views": "views", "tokens": "clip"}


@dataclass(frozen=True)
class FetchedFiles:
    """What `fetch` writes for one category.

    Attributes:
        folder: holds all of them.
    """

    folder: Path

    @property
    def manifest(self) -> Path:
        """Identity, path and split of every image; open to every stage."""
        return self.folder / "manifest.csv"

    @property
    def source(self) -> Path:
        """Where the images lie."""
        return self.folder / "source.json"

    @property
    def labels(self) -> Path:
        """Labels and masks, sealed: only contaminate, evaluate and training on an auxiliary set read them."""
        return self.folder / "labels.csv"

    @property
    def hashes(self) -> Path:
        """Perceptual hashes."""
        return self.folder / "hashes.csv"


@dataclass(frozen=True)
class Workspace:
    """The outputs of the pipeline for one set of images.

    Attributes:
        outputs: the folder of the target's outputs; the auxiliary set's are below it.
    """

    outputs: Path = Path("outputs")

    @property
    def auxiliary(self) -> "Workspace":
        """That of the auxiliary set."""
        return Workspace(self.outputs / "auxiliary")

    def fetched(self, category: str) -> FetchedFiles:
        """What `fetch` writes."""
        return FetchedFiles(self.outputs / "fetch" / category)

    def splits(self, category: str) -> Path:
        """Training sets and test set, from `contaminate`."""
        return self.outputs / "contaminate" / f"{category}.json"

    def lookalikes(self, category: str) -> Path:
        """Near-duplicates across the split, from `contaminate`."""
        return self.outputs / "audit" / f"{category}.json"

    def rows(self, kind: Rows, category: str, method: str = "") -> Path:
        """Features of one kind. Patches serve all methods; views and tokens have a folder per method."""
        folder = self.outputs / FOLDERS[kind] / category
        return folder if kind == "patches" else folder / method

    def painted(self, category: str, method: str) -> Path:
        """Features of painted copies."""
        return self.outputs / "painted" / category / method

    def fits(self, category: str, method: str) -> Path:
        """Fits of a method, a variant's in a folder below; each is named by noise level and seed."""
        return self.outputs / "fits" / category / method

    def models(self, method: str) -> Path:
        """Fits on the auxiliary set (this workspace's), named by seed."""
        return self.outputs / "fits" / method

    def timing(self, method: str, category: str = "") -> Path:
        """Seconds of every fit; without a category those of the fits on the auxiliary set."""
        return self.outputs / "timing" / category / f"{method}.json"

    def maps(self, category: str, method: str) -> Path:
        """Gradient maps of a flow."""
        return self.outputs / "maps" / category / method

    def evaluation(self, category: str, method: str) -> Path:
        """Metrics and scores per image, a variant's in a folder below."""
        return self.outputs / "evaluation" / category / method
