"""Medical segmentation sets: every image shows a lesion, so they serve as test sets only (pixel metrics).

CVC-ClinicDB  <root>/{Original,Ground Truth}/N.tif, or images/ and masks/ as in the repacks
CVC-ColonDB   <root>/{images,masks}/N.*
Kvasir-SEG    <root>/{images,masks}/<id>.jpg: the masks are JPEG, values from 128 on are the lesion
ISIC 2016     <root>/ISBI2016_ISIC_Part1_Test_Data/ISIC_*.jpg, .._Test_GroundTruth/ISIC_*_Segmentation.png
"""

from pathlib import Path

from adlib.data.manifest import DataError, Record
from adlib.datasets.files import image_files, masked_records

DEFECT = "lesion"
ISIC = "ISBI2016_ISIC_Part1_Test_"
# By category: the folders of images and masks, as published or as repacked, and what ends a mask's stem.
FOLDERS = {
    "cvc-clinicdb": ((("Original", "Ground Truth"), ("images", "masks")), ""),
    "cvc-colondb": ((("images", "masks"),), ""),
    "kvasir": ((("images", "masks"),), ""),
    "isic": (((f"{ISIC}Data", f"{ISIC}GroundTruth"),), "_segmentation"),
}


def categories_of(name: str, root: Path) -> list[str]:
    """The set's own name, if the folder of its images is there."""
    return [name] if any((root / images).is_dir() for images, _ in FOLDERS[name][0]) else []


def records(root: Path, category: str) -> list[Record]:
    """All images, as anomalous test images."""
    pairs, ending = FOLDERS[category]
    images, masks = next((root / i, root / m) for i, m in pairs if (root / i).is_dir())
    if not masks.is_dir():
        raise DataError(f"{root}: no folder {masks.name} beside {images.name}; the masks are needed")
    return masked_records(root, image_files(images), masks, "test", DEFECT, ending)
