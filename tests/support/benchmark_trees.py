"""The published layouts as miniature trees: names, nesting, mask conventions and odd cases as published."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 16)


def picture(path: Path) -> None:
    """Random grey pixels that depend on the path alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(path.as_posix().encode())).integers(
        0, 256, SIZE[::-1], dtype=np.uint8
    )
    Image.fromarray(pixels).save(path)


def mask(path: Path, value: int = 255, size: tuple[int, int] = SIZE) -> None:
    """A mask whose left half has this value; 0: blank."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size[::-1], dtype=np.uint8)
    pixels[:, : size[0] // 2] = value
    Image.fromarray(pixels).save(path)


def numbered(pattern: str, *numbers: int) -> list[str]:
    return [pattern.format(n) for n in numbers]


@dataclass(frozen=True)
class Case:
    """A tree: images, masks (and the value that marks a defect), texts; and what a category must become."""

    category: str
    images: list[str]
    counts: dict[tuple[str | None, str], int]
    masks: list[str] = field(default_factory=list)
    blank: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    value: int = 255
    masked: bool = True

    def build(self, root: Path) -> Path:
        for path in self.images:
            picture(root / path)
        for path in self.masks:
            mask(root / path, self.value)
        for path in self.blank:
            mask(root / path, 0)
        for path, text in self.texts.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return root


def mvtec_like(category: str, defect: str) -> Case:
    return Case(
        category,
        [
            *numbered(f"{category}/train/good/{{:03}}.png", 0, 1, 2),
            *numbered(f"{category}/test/good/{{:03}}.png", 0, 1),
            *numbered(f"{category}/test/{defect}/{{:03}}.png", 0, 1),
        ],
        {("train", "good"): 3, ("test", "good"): 2, ("test", defect): 2},
        numbered(f"{category}/ground_truth/{defect}/{{:03}}_mask.png", 0, 1),
    )


LUG = "11 ring cable lug"

VISA_ROWS = [
    *[f"pcb1,train,normal,pcb1/Data/Images/Normal/{n:04}.JPG," for n in range(3)],
    "pcb1,test,normal,pcb1/Data/Images/Normal/0003.JPG,",
    *[
        f"pcb1,test,anomaly,pcb1/Data/Images/Anomaly/{n:03}.JPG,pcb1/Data/Masks/Anomaly/{n:03}.png"
        for n in (0, 1)
    ],
    "candle,train,normal,candle/Data/Images/Normal/0000.JPG,",
]


def real_iad_item(kind: str, folder: str, name: str, mask_path: str | None = None) -> dict[str, str | None]:
    return {"anomaly_class": kind, "image_path": f"{folder}/{name}.jpg", "mask_path": mask_path}


REAL_IAD = {
    "train": [real_iad_item("OK", "OK/S0001", "a_0001_OK_C1_1")],
    "test": [
        real_iad_item("OK", "OK/S0002", "a_0002_OK_C1_1"),
        real_iad_item("HS", "NG/HS/S0003", "a__0003_NG_HS_C1_1", "NG/HS/S0003/a__0003_NG_HS_C1_1_mask.png"),
    ],
}

CASES: dict[str, Case] = {
    "mvtec": mvtec_like("metal_nut", "bent"),
    "mpdd": mvtec_like("bracket_black", "hole"),
    "dtd-synthetic": mvtec_like("Woven_001", "bad"),
    "viaduct": Case(  # Image_<kind>_<object>_<view>: several views of an object
        LUG,
        [
            *numbered(f"{LUG}/train/good/Image_defect-free_1_{{}}.png", 0, 1, 2),
            f"{LUG}/val/good/Image_defect-free_7_0.png",
            *numbered(f"{LUG}/test/good/Image_defect-free_8_{{}}.png", 0, 1),
            *numbered(f"{LUG}/test/deformed/Image_deformed_9_{{}}.png", 0, 4),
        ],
        {("train", "good"): 3, ("test", "good"): 2, ("test", "deformed"): 2},
        numbered(f"{LUG}/ground_truth/deformed/Image_deformed_9_{{}}.png", 0, 4),
    ),
    "visa": Case(
        "pcb1",
        [
            *numbered("pcb1/Data/Images/Normal/{:04}.JPG", 0, 1, 2, 3),
            *numbered("pcb1/Data/Images/Anomaly/{:03}.JPG", 0, 1),
            "candle/Data/Images/Normal/0000.JPG",
        ],
        {("train", "good"): 3, ("test", "good"): 1, ("test", "anomaly"): 2},
        numbered("pcb1/Data/Masks/Anomaly/{:03}.png", 0, 1),
        texts={"split_csv/1cls.csv": "\n".join(["object,split,label,image,mask", *VISA_ROWS])},
        value=3,  # class indices
    ),
    "btad": Case(
        "01",
        [
            *numbered("BTech_Dataset_transformed/01/train/ok/{:04}.bmp", 0, 1),
            "BTech_Dataset_transformed/01/test/ok/0000.bmp",
            *numbered("BTech_Dataset_transformed/01/test/ko/{:04}.bmp", 0, 1),
        ],
        {("train", "good"): 2, ("test", "good"): 1, ("test", "ko"): 2},
        numbered("BTech_Dataset_transformed/01/ground_truth/ko/{:04}.png", 0, 1),
    ),
    "ksdd2": Case(
        "ksdd2",
        [
            *numbered("train/{}.png", 10000, 10001, 10301),
            "train/10301 (copy).png",
            *numbered("test/{}.png", 20000, 20001),
        ],
        {("train", "good"): 2, ("test", "good"): 1, ("test", "defective"): 1},
        ["train/10301_GT.png", "train/10301_GT (copy).png", "test/20001_GT.png"],
        [*numbered("train/{}_GT.png", 10000, 10001), "test/20000_GT.png"],
        {"split_weakly_0.pyb": "a pickle, never loaded"},
    ),
    "ksdd": Case(
        "ksdd",
        [*numbered("kos01/Part{}.jpg", 0, 1), "kos02/Part0.jpg"],
        {(None, "good"): 2, (None, "defective"): 1},
        ["kos01/Part1_label.bmp"],
        ["kos01/Part0_label.bmp", "kos02/Part0_label.bmp"],
    ),
    "rsdd": Case(
        "type-I",
        numbered("Type-I RSDDs dataset/Rail surface images/rail_{}.jpg", 1, 2, 10),
        {("test", "defective"): 3},
        numbered("Type-I RSDDs dataset/GroundTruth/rail_{}.jpg", 1, 2, 10),
    ),
    "dagm": Case(
        "Class10",
        [
            *numbered("DAGM_KaggleUpload/Class10/Train/{:04}.PNG", 1, 2, 3),
            *numbered("DAGM_KaggleUpload/Class10/Test/{:04}.PNG", 1, 2),
        ],
        {("train", "good"): 2, ("test", "good"): 1, ("test", "defective"): 1},
        [
            "DAGM_KaggleUpload/Class10/Train/Label/0002_label.PNG",
            "DAGM_KaggleUpload/Class10/Test/Label/0001_label.PNG",
        ],
        texts={"DAGM_KaggleUpload/Class10/Train/Label/Labels.txt": "1"},
    ),
    "mvtec-ad-2": Case(
        "can",
        [
            *numbered("can/train/good/{:03}_regular.png", 0, 1),
            "can/validation/good/000_regular.png",
            "can/test_public/good/000_regular.png",
            *numbered("can/test_public/bad/{:03}_overexposed.png", 0, 1),
            "can/test_private/000_regular.png",
            "can/test_private_mixed/000_mixed.png",
        ],
        {("train", "good"): 2, ("test", "good"): 1, ("test", "bad"): 2},
        numbered("can/test_public/ground_truth/bad/{:03}_overexposed_mask.png", 0, 1),
    ),
    "mvtec-loco": Case(
        "pushpins",
        [
            *numbered("pushpins/train/good/{:03}.png", 0, 1),
            "pushpins/validation/good/000.png",
            "pushpins/test/good/000.png",
            *numbered("pushpins/test/logical_anomalies/{:03}.png", 0, 1),
            "pushpins/test/structural_anomalies/000.png",
        ],
        {
            ("train", "good"): 2,
            ("test", "good"): 1,
            ("test", "logical_anomalies"): 2,
            ("test", "structural_anomalies"): 1,
        },
        numbered("pushpins/ground_truth/logical_anomalies/000/{:03}.png", 0, 1),
        texts={"pushpins/defects_config.json": "[]"},
        masked=False,
    ),
    "real-iad": Case(
        "audiojack",
        [
            "realiad_256/audiojack/OK/S0001/a_0001_OK_C1_1.jpg",
            "realiad_256/audiojack/OK/S0002/a_0002_OK_C1_1.jpg",
            "realiad_256/audiojack/NG/HS/S0003/a__0003_NG_HS_C1_1.jpg",
        ],
        {("train", "good"): 1, ("test", "good"): 1, ("test", "HS"): 1},
        ["realiad_256/audiojack/NG/HS/S0003/a__0003_NG_HS_C1_1_mask.png"],
        texts={"realiad_jsons/realiad_jsons/audiojack.json": json.dumps(REAL_IAD)},
    ),
    "headct": Case(
        "headct",
        numbered("head_ct/head_ct/{:03}.png", 0, 1, 100),
        {(None, "haemorrhage"): 2, (None, "good"): 1},
        texts={"labels.csv": "id, hemorrhage\n0, 1\n1, 1\n100, 0\n"},
        masked=False,
    ),
    "brainmri": Case(
        "brainmri",
        ["no/1 no.jpeg", "no/N3.jpg", "no/No13.JPG", "no/no 2.png", "yes/Y1.jpg", "yes/Y243.JPG"],
        {(None, "good"): 4, (None, "tumour"): 2},
        masked=False,
    ),
    "br35h": Case(
        "br35h",
        ["yes/y0.jpg", "no/no0.jpg", "no/no1.jpg", "pred/pred0.jpg", "Br35H-Mask-RCNN/TRAIN/y0.jpg"],
        {(None, "good"): 2, (None, "tumour"): 1},
        masked=False,
    ),
    "isic": Case(
        "isic",
        [
            *numbered("ISBI2016_ISIC_Part1_Test_Data/ISIC_{:07}.jpg", 3, 12),
            "ISBI2016_ISIC_Part1_Training_Data/ISIC_0000000.jpg",
        ],
        {("test", "lesion"): 2},
        numbered("ISBI2016_ISIC_Part1_Test_GroundTruth/ISIC_{:07}_Segmentation.png", 3, 12),
    ),
    "cvc-clinicdb": Case(
        "cvc-clinicdb",
        numbered("CVC-ClinicDB/Original/{}.tif", 1, 2, 10),
        {("test", "lesion"): 3},
        numbered("CVC-ClinicDB/Ground Truth/{}.tif", 1, 2, 10),
    ),
    "cvc-colondb": Case(
        "cvc-colondb",
        numbered("images/{}.png", 1, 2),
        {("test", "lesion"): 2},
        numbered("masks/{}.png", 1, 2),
    ),
    "kvasir": Case(
        "kvasir",
        numbered("Kvasir-SEG/images/cju{}.jpg", 1, 2),
        {("test", "lesion"): 2},
        numbered("Kvasir-SEG/masks/cju{}.jpg", 1, 2),
    ),
}
