"""Every published layout: what its miniature tree becomes, and the error that each wrong variant gives."""

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from benchmark_trees import CASES, SIZE, Case, mask, picture
from toys import ROOT

from adlib.config.images import DatasetParams
from adlib.data.manifest import DataError, Record
from adlib.datasets import DATASETS, dataset_records, dataset_source
from adlib.datasets.catalogue import catalogue
from adlib.supply.verify import inspect


def load(name: str, top: Path) -> tuple[Path, list[Record]]:
    root = dataset_source(name, str(top), "").folder
    return root, dataset_records(name, root, CASES[name].category)


def test_every_published_layout_has_a_case():
    assert set(CASES) | {"elpv", "textile"} == set(catalogue())
    assert set(catalogue()) | {"samples", "folder", "globs"} == set(DATASETS)


def test_every_published_layout_is_documented():
    text = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    for name, entry in catalogue().items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert entry.title.lower() in row.lower() or name == "textile"
        assert entry.licence.split(":")[0] in row or (entry.licence == "not confirmed" and "*unc.*" in row)
        if entry.counts and entry.split and entry.counts.train:
            assert " / ".join(map(str, entry.counts)) in row.replace(" *unc.*", "")


def test_the_schema_knows_the_same_names():
    assert set(get_args(DatasetParams.model_fields["name"].annotation)) == set(DATASETS)


@pytest.mark.parametrize("name", CASES)
def test_counts_labels_and_masks(tmp_path: Path, name: str):
    case = CASES[name]
    root, records = load(name, case.build(tmp_path))
    assert Counter((record.split, record.defect) for record in records) == case.counts
    assert len({record.path for record in records}) == len(records)
    for record in records:
        assert bool(record.mask) == (record.anomalous and case.masked)
    images, unreadable = inspect(root, records)
    assert not unreadable
    masked = [image.defective for image in images if image.record.mask]
    assert masked == pytest.approx([0.5] * len(masked))
    # Every mask belongs to the image of the same number.
    for image in images:
        if image.record.mask:
            assert Path(image.record.mask).stem.startswith(Path(image.record.path).stem)


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_creation_does_not_matter(tmp_path: Path, name: str):
    case = CASES[name]
    case.build(tmp_path / "a")
    backwards = Case(
        case.category, case.images[::-1], {}, case.masks[::-1], case.blank[::-1], case.texts, case.value
    )
    backwards.build(tmp_path / "b")
    assert load(name, tmp_path / "a")[1] == load(name, tmp_path / "b")[1]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.masked])
def test_a_mask_of_another_size(tmp_path: Path, name: str):
    case = CASES[name]
    root, records = load(name, case.build(tmp_path))
    wrong = next(record.mask for record in records if record.mask)
    mask(root / wrong, case.value, (SIZE[0], SIZE[1] + 1))
    (problem,) = inspect(root, records)[1]
    assert "the mask is 17 x 24 pixels (height x width), but its image is 16 x 24" in problem


Change = Callable[[Path], object]


def remove(path: str) -> Change:
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def add(path: str) -> Change:
    return lambda root: picture(root / path)


def edit(path: str, old: str, new: str) -> Change:
    return lambda root: (root / path).write_text((root / path).read_text().replace(old, new))


CSV, IAD = "split_csv/1cls.csv", "realiad_jsons/realiad_jsons/audiojack.json"
BTAD, DAGM = "BTech_Dataset_transformed/01", "DAGM_KaggleUpload/Class10"
RAIL, CLINIC, ISIC = "Type-I RSDDs dataset", "CVC-ClinicDB", "ISBI2016_ISIC_Part1_Test_GroundTruth"
NO_MASK, ORPHAN = "anomalous image without a mask; add", "1 masks without an image"

WRONG: list[tuple[str, Change, str]] = [
    ("mvtec", remove("metal_nut/ground_truth"), "no folder ground_truth; this layout needs"),
    ("mvtec", remove("metal_nut/test"), "no folder test; this layout needs ground_truth, test, train"),
    ("mvtec", add("metal_nut/validation/good/0.png"), "unknown folder validation; this layout has"),
    ("mpdd", remove("bracket_black/ground_truth/hole/000_mask.png"), NO_MASK),
    ("dtd-synthetic", add("Woven_001/train/bad/000.png"), "only 'good' belongs here, found bad"),
    ("viaduct", remove("11 ring cable lug/ground_truth/deformed/Image_deformed_9_4.png"), NO_MASK),
    ("visa", remove(CSV), "the table of the split is missing; copy split_csv/ out of the archive"),
    ("visa", edit(CSV, "object,split", "object,part"), "the header must be object,split,label"),
    ("visa", edit(CSV, "test,normal", "val,normal"), "label normal or anomaly, got 'pcb1,val,"),
    ("visa", edit(CSV, "test,anomaly", "train,anomaly"), "anomaly in train"),
    ("visa", edit(CSV, "test,anomaly", "test,normal"), "anomalies have a mask and normal images none"),
    ("visa", remove("pcb1/Data/Masks/Anomaly/000.png"), "no file pcb1/Data/Masks/Anomaly/000.png"),
    ("visa", remove("pcb1/Data/Images/Normal/0001.JPG"), "no file pcb1/Data/Images/Normal/0001.JPG"),
    ("visa", add("pcb1/Data/Images/Unsure/0.JPG"), "unknown folder Unsure"),
    ("btad", remove(f"{BTAD}/test/ok"), "test: no folder ok; this layout needs ok, ko"),
    ("btad", add(f"{BTAD}/test/maybe/0000.bmp"), "unknown folder maybe"),
    ("btad", remove(f"{BTAD}/ground_truth/ko/0001.png"), NO_MASK),
    ("btad", add(f"{BTAD}/ground_truth/ko/0009.png"), ORPHAN),
    ("btad", add(f"{BTAD}/ground_truth/ko/0001.bmp"), "a second file for '0001' beside 0001.bmp; keep one"),
    ("ksdd2", remove("test"), "no folder test; this layout needs train, test"),
    ("ksdd2", remove("test/20001_GT.png"), "20001.png: image without a mask; add 20001_GT"),
    ("ksdd2", add("val/1.png"), "unknown folder val"),
    ("ksdd2", lambda root: [file.unlink() for file in root.glob("test/2000?.png")], "no image named"),
    ("ksdd", add("kos/Part0.jpg"), "unknown folder kos, all must be kosNN"),
    ("ksdd", remove("kos02/Part0_label.bmp"), "image without a mask; add Part0_label"),
    ("rsdd", remove(f"{RAIL}/GroundTruth"), "no folder GroundTruth"),
    ("rsdd", remove(f"{RAIL}/GroundTruth/rail_2.jpg"), NO_MASK),
    ("rsdd", add(f"{RAIL}/normal/rail_7.jpg"), "unknown folder normal"),
    ("dagm", remove(f"{DAGM}/Test"), "no folder Test; this layout needs Train, Test"),
    ("dagm", remove(f"{DAGM}/Train/Label"), "no folder Label; this layout needs Label"),
    ("dagm", add(f"{DAGM}/Val/0001.PNG"), "unknown folder Val"),
    ("dagm", remove(f"{DAGM}/Test/0001.PNG"), ORPHAN),
    ("mvtec-ad-2", remove("can/train"), "no folder train"),
    ("mvtec-ad-2", remove("can/test_public/ground_truth/bad/000_overexposed_mask.png"), NO_MASK),
    ("mvtec-ad-2", add("can/test_public/ugly/000.png"), "unknown folder ugly"),
    ("mvtec-loco", add("pushpins/test/other/000.png"), "unknown folder other"),
    ("mvtec-loco", remove("pushpins/test/structural_anomalies"), "no folder structural_anomalies"),
    ("real-iad", remove("realiad_jsons"), "the splits are missing; fetch and unpack realiad_jsons.zip"),
    ("real-iad", remove("realiad_256/audiojack/OK/S0001"), "no file .*a_0001_OK_C1_1.jpg; unpack"),
    ("real-iad", add("realiad_512/audiojack/OK/S1/0.jpg"), "must lie here, found realiad_256, realiad_512"),
    ("real-iad", edit(IAD, '"train"', '"fit"'), "must hold the keys train and test"),
    ("real-iad", edit(IAD, "image_path", "path"), "an item lacks 'image_path'"),
    ("real-iad", edit(IAD, '"mask_path": "NG', '"masks": "NG'), "anomalous image without a mask in"),
    ("real-iad", edit(IAD, 'n": [{"anomaly_class": "OK', 'n": [{"anomaly_class": "HS'), "anomaly in train"),
    ("headct", remove("labels.csv"), "the labels are missing"),
    ("headct", remove("head_ct/head_ct/001.png"), "every image has one line, which fails for 001"),
    ("headct", edit("labels.csv", "100, 0", "100, 2"), "every line must hold an id and 0 or 1"),
    ("brainmri", remove("no"), "no folder no; this layout needs no, yes"),
    ("brainmri", add("maybe/1.png"), "unknown folder maybe"),
    ("br35h", add("test/1.png"), "unknown folder test"),
    ("isic", remove(ISIC), "no folder ISBI2016_ISIC_Part1_Test_GroundTruth beside"),
    ("isic", remove(f"{ISIC}/ISIC_0000003_Segmentation.png"), NO_MASK),
    ("cvc-clinicdb", add(f"{CLINIC}/Ground Truth/612.tif"), ORPHAN),
    ("cvc-clinicdb", remove(f"{CLINIC}/Ground Truth"), "no folder Ground Truth beside Original"),
    ("cvc-colondb", remove("masks/2.png"), NO_MASK),
    ("kvasir", remove("Kvasir-SEG/masks/cju1.jpg"), NO_MASK),
    *[(name, lambda root: [shutil.rmtree(path) for path in root.iterdir() if path.is_dir()], "it has none")
      for name in CASES if name not in ("visa", "real-iad")],
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), WRONG, ids=[f"{n}-{m[:40]}" for n, _, m in WRONG])
def test_wrong_variants(tmp_path: Path, name: str, change: Change, message: str):
    change(CASES[name].build(tmp_path))
    with pytest.raises(DataError, match=message) as caught:
        load(name, tmp_path)
    assert any(re.search(pattern, str(caught.value)) for pattern in documented_errors())


def documented_errors() -> list[str]:
    """The first column of the table of errors in docs/datasets.md; `…` stands for anything."""
    table = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8").split("## Wrong trees\n")[1]
    rows = [row.split("`")[1] for row in table.split("\n## ")[0].splitlines() if row.startswith("| `")]
    return [".*".join(map(re.escape, row.split("…"))) for row in rows]


@pytest.mark.parametrize(("product", "image", "truth"), [("02", "png", "png"), ("03", "bmp", "bmp")])
def test_the_other_formats_of_btad(tmp_path: Path, product: str, image: str, truth: str):
    base = tmp_path / "BTech_Dataset_transformed" / product
    for part in ("train/ok", "test/ok", "test/ko"):
        picture(base / part / f"0000.{image}")
    mask(base / "ground_truth" / "ko" / f"0000.{truth}")
    root = dataset_source("btad", str(tmp_path), "").folder
    *normal, defective = dataset_records("btad", root, product)
    assert [record.mask for record in normal] == ["", ""]
    assert defective.mask == f"{product}/ground_truth/ko/0000.{truth}"
