"""Stage `fetch`: a dataset's layout becomes a manifest and, apart from it, sealed labels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adlib.base.files import sha256_file
from adlib.base.rng import shuffled
from adlib.config.images import AuxiliaryParams, DatasetParams
from adlib.data.images import ImageError, read_mask, read_rgb
from adlib.data.lookalikes import perceptual_hash
from adlib.data.manifest import DataError, Label, Record, Sample
from adlib.data.source import Source
from adlib.datasets import dataset_records, dataset_source


@dataclass(frozen=True, slots=True)
class Fetched:
    """What `fetch` writes for one category.

    `source` is where they lie, `duplicates` counts the copies that were left out, `hashes` are perceptual
    ones by sample id.
    """

    source: Source
    samples: list[Sample]
    labels: list[Label]
    duplicates: int
    hashes: dict[str, str]


def fetch(params: DatasetParams, category: str) -> Fetched:
    """Identify, split, cap and check the images of one category.

    Raises:
        DataError: unknown category, unreadable images or masks (all of them listed), too few images,
            one file in two splits or with two labels. A target may lack normal images altogether if it has
            masks: zero-shot methods can be measured on its pixels.
    """
    source = dataset_source(params.name, params.root, params.version)
    root = source.folder
    records = dataset_records(params.name, root, category)
    # Empty files are alike without being duplicates: they are bad files, each of them.
    empty = {record for record in records if not (root / record.path).stat().st_size}
    identified, duplicates = drop_duplicates(
        (sha256_file(root / record.path), record) for record in records if record not in empty
    )
    chosen = cap(split(identified, params, category), params, category)
    looks = _check_files(
        root, [record for record in records if record in empty] + [record for _, record in chosen]
    )
    if isinstance(params, AuxiliaryParams) or not zero_shot_only(records):
        _check_counts(chosen, category)
    samples = [Sample(id, r.path, r.split) for id, r in chosen if r.split is not None]
    labels = [Label(id, r.defect, r.mask, sha256_file(root / r.mask) if r.mask else "") for id, r in chosen]
    return Fetched(source, samples, labels, duplicates, {id: looks[record.path] for id, record in chosen})


def drop_duplicates(records: Iterable[tuple[str, Record]]) -> tuple[list[tuple[str, Record]], int]:
    """Keep the first of identical files of one split and label, and count the others.

    Raises:
        DataError: identical files stand in two splits or under two labels.
    """
    first: dict[str, Record] = {}
    clashes: list[str] = []
    duplicates = 0
    for id, record in records:
        other = first.setdefault(id, record)
        if other is record:
            continue
        duplicates += 1
        if (other.split, other.defect) != (record.split, record.defect):
            clashes.append(f"  {other.path} = {record.path}")
    if clashes:
        raise DataError(
            "identical image files in two splits or under two labels; remove one of each pair:\n"
            + "\n".join(clashes)
        )
    return list(first.items()), duplicates


def zero_shot_only(records: Sequence[Record]) -> bool:
    """Whether every image is anomalous and has a mask, as in RSDDs, ISIC, CVC and Kvasir."""
    return bool(records) and all(record.anomalous and record.mask for record in records)


def split(
    records: list[tuple[str, Record]], params: DatasetParams, category: str
) -> list[tuple[str, Record]]:
    """Set random normals aside for calibration, and split what was published without a split.

    Without a published split `max_train` normals train, `max_calibration` (at most half of the remaining
    ones) calibrate, and the rest tests. A published test split is never touched: the normals of the training
    split beyond `max_train` calibrate, or `calibration_share` of that split if they are fewer.
    """
    unsplit = [id for id, record in records if record.split is None and not record.anomalous]
    drawn = shuffled(unsplit, params.split_seed, "split", category)
    train, rest = set(drawn[: params.max_train]), drawn[params.max_train :]
    calibration = set(rest[: min(params.max_calibration, len(rest) // 2)])
    published = [id for id, record in records if record.split == "train" and not record.anomalous]
    spare = max(len(published) - params.max_train, int(params.calibration_share * len(published)))
    # The far end of the order whose head `cap` keeps: those who train stay the same.
    order = shuffled(published, params.split_seed, "train", category)
    calibration |= set(order[len(order) - min(params.max_calibration, spare) :])

    def assigned(id: str, record: Record) -> Record:
        if id in calibration:
            return replace(record, split="calibration")
        return record if record.split else replace(record, split="train" if id in train else "test")

    return [(id, assigned(id, record)) for id, record in records]


def cap(records: list[tuple[str, Record]], params: DatasetParams, category: str) -> list[tuple[str, Record]]:
    """Keep at most the numbers of images that params.yaml allows, drawn at random."""
    groups = [
        ("train", lambda r: r.split == "train", params.max_train),
        ("calibration", lambda r: r.split == "calibration", params.max_calibration),
        ("test normal", lambda r: r.split == "test" and not r.anomalous, params.max_test_normal),
        ("test anomalous", lambda r: r.split == "test" and r.anomalous, params.max_test_anomalous),
    ]
    kept: set[str] = set()
    for name, belongs, limit in groups:
        ids = [id for id, record in records if belongs(record)]
        kept.update(shuffled(ids, params.split_seed, name, category)[:limit])
    return [(id, record) for id, record in records if id in kept]


def _check_counts(records: list[tuple[str, Record]], category: str) -> None:
    counts = Counter((r.split, r.anomalous) for _, r in records)
    needed = {
        "train normal": counts["train", False],
        "test normal": counts["test", False],
        "test anomalous": counts["test", True],
    }
    empty = [name for name, count in needed.items() if not count]
    if empty:
        raise DataError(
            f"{category}: no {' and no '.join(empty)} image; every one of {', '.join(needed)} is needed. "
            "Where no split is published, dataset.max_train of the normal images train and the rest test"
        )


def _check_files(root: Path, records: list[Record]) -> dict[str, str]:
    """Decode every image and mask once, so that a bad file stops the run here and not an hour later.

    Returns:
        The images' perceptual hashes by path.
    """
    problems: list[str] = []
    looks: dict[str, str] = {}
    for record in records:
        try:
            rgb = read_rgb(root / record.path)
            looks[record.path] = perceptual_hash(rgb)
            height, width, _ = rgb.shape
            if record.mask and not read_mask(root / record.mask, (height, width)).any():
                problems.append(f"{record.mask}: the mask of an anomalous image has no defect pixel")
        except ImageError as error:
            problems.append(str(error))
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:20])
        more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise DataError(f"{len(problems)} bad files (repair or remove them):\n{shown}{more}")
    return looks
