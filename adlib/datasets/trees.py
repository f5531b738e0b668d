"""Published sets whose folders alone say what an image is: each is a row of `TREES`.

BTAD (Mishra et al. 2021): three products. 01 has BMP images and PNG masks, 02 PNG and PNG, 03 BMP and BMP;
`ok` and `ko` restart their numbering.

MVTec AD 2 (Heckler-Kram et al. 2025): eight objects. The truth of `test_private` and `test_private_mixed`
stays with the benchmark's server; neither they nor `validation` are read.

MVTec LOCO AD (Bergmann et al. 2022): five objects with structural and logical anomalies. Image labels only: a
logical anomaly has several masks whose areas saturate (sPRO), which no metric here knows, and pixel numbers
from plain masks would compare with nobody's. `validation` is not read.

RSDDs (Gan et al. 2017): rail surfaces. Every image has a defect, so it serves as a test set only. The masks
are JPEG: values from 128 on are defects here, from 155 or 200 on elsewhere.

Brain MRI and Br35H: `yes` shows a tumour. Of Br35H `pred` has no labels, and `Br35H-Mask-RCNN` has copies of
`yes`: neither is read.

Textile (package `conformal-clip-data`, MIT): simulated images of 250 x 250 pixels, 1,000 nominal and 500 of
each kind of defect. No masks, no published split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from adlib.data.manifest import GOOD, Record, Split
from adlib.datasets.files import check_folders, image_files, masked_records, plain_records, subfolders


class Part(NamedTuple):
    """The images of one folder; with `masks`, each has the file `<stem><ending>.*` in that folder."""

    split: Split | None
    images: str
    defect: str = GOOD
    masks: str = ""
    ending: str = ""


@dataclass(frozen=True)
class Tree:
    """Where the images of a category lie, all folders below its own.

    Attributes:
        parts: its images.
        needed: for each folder the folders that it must hold, and no others.
        ignored: folders that may lie in the category's own and are not read.
        homes: the categories' own folders below the root; by default every folder there is a category.
        marker: a folder that every category has.
    """

    parts: Sequence[Part]
    needed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    homes: Mapping[str, str] = field(default_factory=dict)
    marker: str = "."

    def categories(self, root: Path) -> list[str]:
        """The categories that are there."""
        homes = self.homes or {path.name: path.name for path in subfolders(root)}
        return [name for name, home in homes.items() if (root / home / self.marker).is_dir()]

    def records(self, root: Path, category: str) -> list[Record]:
        """The images of one category."""
        base = root / self.homes.get(category, category)
        for folder, needed in self.needed.items():
            check_folders(base / folder, needed, () if folder else self.ignored)
        found: list[Record] = []
        for split, images, defect, masks, ending in self.parts:
            files = image_files(base / images)
            if masks:
                found += masked_records(root, files, base / masks, split, defect, ending)
            else:
                found += plain_records(root, files, split, defect)
        return found


def _tumours(name: str) -> Tree:
    return Tree(
        [Part(None, "no"), Part(None, "yes", "tumour")],
        {"": ["no", "yes"]},
        ignored=["brain_tumor_dataset", "pred", "Br35H-Mask-RCNN"],
        homes={name: "."},
        marker="yes",
    )


LOGICAL, STRUCTURAL = "logical_anomalies", "structural_anomalies"
TREES = {
    "btad": Tree(
        [
            Part("train", "train/ok"),
            Part("test", "test/ok"),
            Part("test", "test/ko", "ko", "ground_truth/ko"),
        ],
        {"": ["train", "test", "ground_truth"], "train": ["ok"], "test": ["ok", "ko"]},
        marker="train/ok",
    ),
    "mvtec-ad-2": Tree(
        [
            Part("train", "train/good"),
            Part("test", "test_public/good"),
            Part("test", "test_public/bad", "bad", "test_public/ground_truth/bad", "_mask"),
        ],
        {"": ["train", "test_public"], "train": [GOOD], "test_public": [GOOD, "bad", "ground_truth"]},
        ignored=["validation", "test_private", "test_private_mixed"],
        marker="test_public",
    ),
    "mvtec-loco": Tree(
        [
            Part("train", "train/good"),
            *(Part("test", f"test/{kind}", kind) for kind in (GOOD, LOGICAL, STRUCTURAL)),
        ],
        {"": ["train", "test"], "train": [GOOD], "test": [GOOD, LOGICAL, STRUCTURAL]},
        ignored=["validation", "ground_truth"],
        marker=f"test/{LOGICAL}",
    ),
    "rsdd": Tree(
        [Part("test", "Rail surface images", "defective", "GroundTruth")],
        {"": ["GroundTruth", "Rail surface images"]},
        homes={"type-I": "Type-I RSDDs dataset", "type-II": "Type-II RSDDs dataset"},
    ),
    "brainmri": _tumours("brainmri"),
    "br35h": _tumours("br35h"),
    "textile": Tree(
        [Part(None, "nominal"), Part(None, "local", "local"), Part(None, "global", "global")],
        homes={"simulated": "simulated"},
    ),
}
