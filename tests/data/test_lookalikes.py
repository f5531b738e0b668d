"""Perceptual hashes: copies are found, other images are not, and only pairs of two parts are named."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from toys import ROOT

from adlib.data import lookalikes
from adlib.data.images import read_rgb
from adlib.data.lookalikes import LIMIT, near_pairs, perceptual_hash

SAMPLES = sorted((ROOT / "samples" / "terrazzo" / "train" / "good").iterdir())[:12]


def distance(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


def as_jpeg(rgb: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=75)
    return np.asarray(Image.open(stream))


COPIES = {
    "jpeg": as_jpeg,
    "half": lambda rgb: np.asarray(Image.fromarray(rgb).resize((rgb.shape[1] // 2, rgb.shape[0] // 2))),
    "brighter": lambda rgb: (rgb * 0.95 + 10).clip(0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_and_another_image_is_not(kind: str):
    images = [read_rgb(path) for path in SAMPLES]
    hashes = [perceptual_hash(rgb) for rgb in images]
    assert all(len(found) == 64 for found in hashes)
    copies = [distance(h, perceptual_hash(COPIES[kind](rgb))) for h, rgb in zip(hashes, images, strict=True)]
    assert max(copies) <= LIMIT
    others = [distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(others) > LIMIT


@given(st.lists(st.tuples(st.integers(0, 2**12), st.sampled_from("abc")), max_size=9), st.integers(0, 5))
def test_pairs_by_brute_force(images: list[tuple[int, str]], limit: int):
    hashes = {str(i): f"{value:064x}" for i, (value, _) in enumerate(images)}
    parts = {str(i): part for i, (_, part) in enumerate(images)}
    expected = sorted(
        (distance(hashes[i], hashes[j]), i, j)
        for i in hashes
        for j in hashes
        if i < j and parts[i] != parts[j] and distance(hashes[i], hashes[j]) <= limit
    )
    assert near_pairs(hashes, parts, limit) == expected


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    hashes = {f"{i:03}": f"{i % 7:064x}" for i in range(40)}
    parts = {id: "test" if i % 2 else "training" for i, id in enumerate(hashes)}
    whole = near_pairs(hashes, parts, 0)
    monkeypatch.setattr(lookalikes, "BLOCK", 7)
    assert near_pairs(hashes, parts, 0) == whole
    assert whole
