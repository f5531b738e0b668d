"""Is a dataset fit to be used? Files, masks, sizes, duplicates and balance, as problems and notes.

A problem would make `fetch` refuse the set or a result meaningless; a note is worth knowing.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adlib.base.files import sha256_file
from adlib.data.images import ImageError, read_mask, read_rgb
from adlib.data.lookalikes import BITS, LIMIT, near_pairs, perceptual_hash
from adlib.data.manifest import GOOD, Record
from adlib.datasets.catalogue import Benchmark, Counts

SHOWN = 10
RARE = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    problem: bool
    what: str


@dataclass(frozen=True, slots=True)
class Inspected:
    """A readable image: record, identity, (H, W), perceptual hash, and the mask's share of defect pixels."""

    record: Record
    id: str
    size: tuple[int, int]
    look: str
    defective: float | None


def inspect(
    root: Path, records: Sequence[Record], advance: Callable[[int], None] = lambda _: None
) -> tuple[list[Inspected], list[str]]:
    """Decode every image and mask once; returns what is readable, and a line for what is not."""
    readable: list[Inspected] = []
    unreadable: list[str] = []
    for record in records:
        try:
            rgb = read_rgb(root / record.path)
            size = (rgb.shape[0], rgb.shape[1])
            defective = float(read_mask(root / record.mask, size).mean()) if record.mask else None
            id, look = sha256_file(root / record.path), perceptual_hash(rgb)
            readable.append(Inspected(record, id, size, look, defective))
        except ImageError as error:
            unreadable.append(str(error))
        advance(1)
    return readable, unreadable


def findings(
    records: Sequence[Record],
    images: Sequence[Inspected],
    unreadable: Sequence[str],
    *,
    test_only: bool = False,
) -> Iterator[Finding]:
    """Every finding about one category; `test_only`: the set is published without normal images."""
    yield from (Finding(True, line) for line in unreadable)
    for image in images:
        if image.defective == 0:
            yield Finding(True, f"{image.record.mask}: the mask of an anomalous image has no defect pixel")
    yield from _balance(records, test_only)
    yield Finding(False, size_summary([image.size for image in images]))
    yield from _masks(images)
    yield from _duplicates(images)
    yield from _near_duplicates(images)


def published(records: Sequence[Record], categories: int, benchmark: Benchmark) -> Iterator[Finding]:
    """Whether all categories together hold what was published."""
    if categories != benchmark.categories:
        yield Finding(False, f"{categories} of {benchmark.categories} categories are here")
    elif benchmark.counts and (found := count(records)) != benchmark.counts:
        yield Finding(
            benchmark.counts_sure, f"published are {_words(benchmark.counts)}, found {_words(found)}"
        )


def group(record: Record) -> tuple[str, str]:
    """Split and kind of defect; a set without a published split has the split `-`."""
    return record.split or "-", record.defect


def groups(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """Records by split and kind of defect, sorted."""
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        found[group(record)].append(record)
    return dict(sorted(found.items()))


def size_summary(sizes: Sequence[tuple[int, int]]) -> str:
    """The three most common (H, W) in words."""
    counts = Counter(sizes)
    common = ", ".join(f"{h} x {w} ({n})" for (h, w), n in counts.most_common(3))
    more = f" and {len(counts) - 3} others" if len(counts) > 3 else ""
    return f"sizes (height x width): {common}{more}"


def _balance(records: Sequence[Record], test_only: bool) -> Iterator[Finding]:
    kinds = groups(records)
    yield Finding(False, "images: " + ", ".join(f"{s} {d} {len(m)}" for (s, d), m in kinds.items()))
    found = count(records)
    if not found.anomalous:
        yield Finding(True, "no anomalous image: nothing can be evaluated")
    if test_only:
        yield Finding(False, "anomalous test images only: for zero-shot methods and pixel metrics")
    elif all(record.split is None for record in records):
        if found.normal < 2:
            yield Finding(True, "fewer than two normal images: some train and some test")
    else:
        for name, number in (("training", found.train), ("normal test", found.normal)):
            if not number:
                yield Finding(True, f"no {name} image")
    for (_, defect), members in kinds.items():
        if defect != GOOD and len(members) < RARE:
            yield Finding(False, f"only {len(members)} of the kind {defect!r}: its own numbers will be noise")


def count(records: Sequence[Record]) -> Counts:
    """Training, normal test and anomalous images; without a split all normal ones count as test."""
    return Counts(
        sum(record.split == "train" for record in records),
        sum(record.split != "train" and not record.anomalous for record in records),
        sum(record.anomalous for record in records),
    )


def _words(counts: Counts) -> str:
    return f"{counts.train} training, {counts.normal} normal and {counts.anomalous} anomalous test images"


def _masks(images: Sequence[Inspected]) -> Iterator[Finding]:
    areas = [image.defective for image in images if image.defective is not None]
    if areas:
        low, middle, high = (f"{100 * q:.3g} %" for q in np.quantile(areas, [0, 0.5, 1]))
        yield Finding(
            False, f"masks: {len(areas)}, defects cover {low} to {high} of an image, median {middle}"
        )


def _duplicates(images: Sequence[Inspected]) -> Iterator[Finding]:
    """Identical files: a problem across splits or labels, a note within (fetch keeps the first)."""
    copies: dict[str, list[Record]] = defaultdict(list)
    for image in images:
        copies[image.id].append(image.record)
    within = 0
    for records in (records for records in copies.values() if len(records) > 1):
        if len({group(record) for record in records}) > 1:
            yield Finding(True, "identical files: " + " = ".join(_where(record) for record in records))
        else:
            within += len(records) - 1
    if within:
        yield Finding(False, f"{within} identical copies within a split and label (fetch keeps the first)")


def _near_duplicates(images: Sequence[Inspected]) -> Iterator[Finding]:
    """Pictures that look alike across splits or labels: a note, as aligned products are alike anyway."""
    hashes = {image.record.path: image.look for image in images}
    parts = {image.record.path: " ".join(group(image.record)) for image in images}
    ids = {image.record.path: image.id for image in images}
    pairs = [pair for pair in near_pairs(hashes, parts) if ids[pair.first] != ids[pair.second]]
    if pairs:
        yield Finding(
            False,
            f"{len(pairs)} pairs across splits or labels look alike (at most {LIMIT} of {BITS} bits of the "
            "perceptual hash differ)",
        )
    records = {image.record.path: image.record for image in images}
    for distance, first, second in pairs[:SHOWN]:
        yield Finding(False, f"{distance} bits: {_where(records[first])} ~ {_where(records[second])}")


def _where(record: Record) -> str:
    split, defect = group(record)
    return f"{record.path} ({split}, {defect})"
