"""Is a dataset fit to be used? Files, masks, sizes, duplicates and balance, as problems and notes.

A problem would make `fetch` refuse the set or a result meaningless; a note is worth knowing.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from adlib.data.catalogue import Counts
from adlib.data.images import ImageError, read_mask, read_rgb, sha256_file
from adlib.data.manifest import GOOD, Record

# Bits of the perceptual hash (a side of 16: 256 bits) in which near duplicates may differ.
HASH_SIDE = 16
NEAR = 6
SHOWN = 10
RARE = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    problem: bool
    what: str


@dataclass(frozen=True, slots=True)
class Inspected:
    """A readable image: its record, identity, (H, W), 256 bits of perceptual hash, share of defect pixels."""

    record: Record
    id: str
    size: tuple[int, int]
    bits: np.ndarray
    defective: float | None


def inspect(
    root: Path, records: Sequence[Record], advance: Callable[[int], None] = lambda _: None
) -> tuple[list[Inspected], list[str]]:
    """Decode every image and mask once; returns what is readable, and a line for what is not."""
    readable: list[Inspected] = []
    unreadable: list[str] = []
    for record in records:
        try:
            readable.append(_inspect(root, record))
        except ImageError as error:
            unreadable.append(str(error))
        advance(1)
    return readable, unreadable


def findings(
    records: Sequence[Record], images: Sequence[Inspected], unreadable: Sequence[str], expected: Counts | None
) -> Iterator[Finding]:
    """Every finding about one category, or one dataset; `expected` are the published numbers."""
    yield from (Finding(True, line) for line in unreadable)
    for image in images:
        if image.defective == 0:
            yield Finding(True, f"{image.record.mask}: the mask of an anomalous image has no defect pixel")
    yield from _balance(records, expected)
    yield from _sizes(images)
    yield from _masks(images)
    yield from _duplicates(images)
    yield from _near_duplicates(images)


def group(record: Record) -> tuple[str, str]:
    """Split and kind of defect; a set without a published split has the split `-`."""
    return record.split or "-", record.defect


def _inspect(root: Path, record: Record) -> Inspected:
    rgb = read_rgb(root / record.path)
    size = (rgb.shape[0], rgb.shape[1])
    mask = read_mask(root / record.mask, size) if record.mask else None
    bits = imagehash.phash(Image.fromarray(rgb), hash_size=HASH_SIDE).hash.ravel()
    defective = None if mask is None else float(mask.mean())
    return Inspected(record, sha256_file(root / record.path), size, bits, defective)


def _balance(records: Sequence[Record], expected: Counts | None) -> Iterator[Finding]:
    counts = Counter(group(record) for record in records)
    yield Finding(False, "images: " + ", ".join(f"{s} {d} {n}" for (s, d), n in sorted(counts.items())))
    found = count(records)
    if expected is not None and found != expected:
        yield Finding(True, f"published are {_words(expected)}, found {_words(found)}")
    if expected is None or expected.normal:
        split = any(record.split for record in records)
        needed = {"training": found.train if split else found.normal, "normal test": found.normal}
        if not split and found.normal < 2:
            yield Finding(True, "fewer than two normal images: some train and some test")
        for name in (name for name, number in needed.items() if not number):
            yield Finding(True, f"no {name} image")
    if not found.anomalous:
        yield Finding(True, "no anomalous image: nothing can be evaluated")
    for (_, defect), number in sorted(counts.items()):
        if defect != GOOD and number < RARE:
            yield Finding(False, f"only {number} of the kind {defect!r}: its own numbers will be noise")


def count(records: Sequence[Record]) -> Counts:
    """Training, normal test and anomalous images; without a split all normal ones count as test."""
    return Counts(
        sum(record.split == "train" for record in records),
        sum(record.split != "train" and not record.anomalous for record in records),
        sum(record.anomalous for record in records),
    )


def _words(counts: Counts) -> str:
    return f"{counts.train} training, {counts.normal} normal and {counts.anomalous} anomalous test images"


def _sizes(images: Sequence[Inspected]) -> Iterator[Finding]:
    sizes = Counter(image.size for image in images)
    common = ", ".join(f"{h} x {w} ({n})" for (h, w), n in sizes.most_common(3))
    more = f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else ""
    yield Finding(False, f"sizes (height x width): {common}{more}")


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
    """Pictures that look alike, by perceptual hash: to be looked at, as aligned products are alike anyway."""
    if len(images) < 2:
        return
    pairs = [
        (d, i, j)
        for d, i, j in near_pairs(np.stack([x.bits for x in images]))
        if images[i].id != images[j].id
    ]
    across = [pair for pair in pairs if group(images[pair[1]].record) != group(images[pair[2]].record)]
    if pairs:
        yield Finding(
            False,
            f"{len(pairs)} pairs look alike (at most {NEAR} of {HASH_SIDE**2} bits of the perceptual hash "
            f"differ), {len(across)} of them across splits or labels",
        )
    for distance, i, j in sorted(across)[:SHOWN]:
        yield Finding(False, f"{distance} bits: {_where(images[i].record)} ~ {_where(images[j].record)}")


def near_pairs(bits: np.ndarray, limit: int = NEAR, block: int = 256) -> list[tuple[int, int, int]]:
    """Pairs of rows of `(N, 256)` bool that differ in at most `limit` bits: `(distance, i, j)`, `i < j`."""
    N = len(bits)
    packed = np.packbits(bits, axis=1).view(np.uint64)
    found: list[tuple[int, int, int]] = []
    for start, stop in pairwise([*range(0, N, block), N]):
        distance = np.bitwise_count(packed[start:stop, None] ^ packed[None, start:]).sum(axis=2)
        rows, columns = np.nonzero(distance <= limit)
        later = columns > rows
        found += [
            (int(distance[r, c]), start + int(r), start + int(c))
            for r, c in zip(rows[later], columns[later], strict=True)
        ]
    return found


def _where(record: Record) -> str:
    split, defect = group(record)
    return f"{record.path} ({split}, {defect})"
