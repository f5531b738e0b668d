"""Near-duplicates by perceptual hash: copies that were saved anew, scaled or brightened, whose bytes differ.

Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions": the signs of the low
frequencies of a cosine transform, here 256 of them. On cell images, copies in JPEG, at half size or a tenth
brighter differ in at most 16 bits (95 % of them), two different monocrystalline cells in 20 or more; cropping
by 1 % already goes unseen.
"""

from collections.abc import Mapping
from typing import NamedTuple

import imagehash
import numpy as np
from PIL import Image

SIDE = 16
BITS = SIDE**2
LIMIT = 16  # bits: of two images that differ in no more, one may be a copy of the other
BLOCK = 256  # images compared with all others at a time


class Pair(NamedTuple):
    """Two images of different parts whose hashes differ in `distance` bits."""

    distance: int
    first: str
    second: str


def perceptual_hash(rgb: np.ndarray) -> str:
    """256 bits as 64 hexadecimal digits, of an image `(H, W, 3)` uint8."""
    return str(imagehash.phash(Image.fromarray(rgb), hash_size=SIDE))


def near_pairs(hashes: Mapping[str, str], parts: Mapping[str, str], limit: int = LIMIT) -> list[Pair]:
    """Pairs of images that look alike and belong to different parts, the closest first.

    Args:
        hashes: perceptual hash by image id.
        parts: the part (training, calibration, test) by image id; every id needs a hash.
        limit: largest number of differing bits.
    """
    ids = sorted(parts)
    bits = np.array([list(bytes.fromhex(hashes[id])) for id in ids], dtype=np.uint8).reshape(-1, BITS // 8)
    kinds = np.array([parts[id] for id in ids])
    found = []
    for start in range(0, len(ids), BLOCK):
        block = bits[start : start + BLOCK]
        distance = np.bitwise_count(block[:, None] ^ bits[None]).sum(axis=2, dtype=np.int32)
        near = (distance <= limit) & (kinds[start : start + BLOCK, None] != kinds[None])
        for i, j in np.argwhere(near):
            if start + i < j:
                found.append(Pair(int(distance[i, j]), ids[start + i], ids[j]))
    return sorted(found)
