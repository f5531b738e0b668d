"""Stage `features`: images through the frozen backbone, each once, shared by every experiment.

A row depends on the image's bytes, the backbone with its weights and the preprocessing: that is its key in
the store. The stage's output is assembled from rows.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from adlib.config import BackboneParams
from adlib.data.images import read_rgb, resize_rgb, sha256_file
from adlib.data.manifest import DataError, Sample
from adlib.device import to_device
from adlib.features.backbones import Backbone, load_backbone
from adlib.features.patches import embed_patches
from adlib.features.store import INFO, ROWS
from adlib.imports import code_version
from adlib.io import atomic_directory, atomic_path, write_json
from adlib.progress import track
from adlib.store import content_key, entry_path


def build_features(
    folder: str | Path,
    samples: Sequence[Sample],
    root: Path,
    params: BackboneParams,
    *,
    image_size: int,
    keep_aspect: bool,
    device: torch.device,
) -> int:
    """Write the features of all samples to `folder` (as a whole or not at all).

    Rows found in the store are copied, the others embedded and added to it.

    Returns:
        The number of images that had to be embedded.

    Raises:
        DataError: an image is not the one that the manifest names.
    """
    backbone = load_backbone(params, device)
    key = content_key(
        weights=backbone.weights_sha256,
        backbone=params.model_dump(mode="json", exclude={"batch_size", "weights", "sha256"}),
        image_size=image_size,
        keep_aspect=keep_aspect,
        device=device.type,
        code=code_version("adlib.features.build"),
    )
    grid, width = _layout(backbone, params, image_size)
    shape = (len(samples), grid[0] * grid[1], width)
    embedded = 0
    with atomic_directory(folder) as temporary:
        rows = np.lib.format.open_memmap(temporary / ROWS, mode="w+", dtype=np.float16, shape=shape)
        missing = [i for i, sample in enumerate(samples) if not _restore(rows, i, key, sample.id)]
        for start, block in _embedded_blocks(
            backbone, params, [samples[i] for i in missing], root, image_size, keep_aspect
        ):
            for i, row in zip(missing[start:], block, strict=False):
                rows[i] = row
                _keep(row, key, samples[i].id)
                embedded += 1
        rows.flush()
        del rows
        info = {"ids": [s.id for s in samples], "grid": grid, "image_size": image_size}
        # Enough to embed another image in the same way: `adlib predict` finds it in a fit's folder.
        info["embedding"] = {"backbone": params.model_dump(mode="json"), "keep_aspect": keep_aspect}
        write_json(temporary / INFO, info | {"weights_sha256": backbone.weights_sha256, "key": key})
    return embedded


def embed_images(backbone: Backbone, params: BackboneParams, images: np.ndarray) -> np.ndarray:
    """Patch features of images: `(B, H, W, 3)` uint8 to `(B, N, D)` float16.

    A smaller batch is filled up to `batch_size` with copies: kernels are chosen by the batch's shape and
    round differently, but a row must not depend on the company it is embedded in.
    """
    B, *frame = images.shape
    filled = np.resize(images, (max(B, params.batch_size), *frame))
    levels = backbone.levels(to_device(filled, backbone.device))
    patches = embed_patches(levels, params.pretrain_dim, params.target_dim, params.patch_size)[:B]
    limit = torch.finfo(torch.float16).max
    return patches.flatten(1, 2).clamp(-limit, limit).half().cpu().numpy()


def _embedded_blocks(
    backbone: Backbone,
    params: BackboneParams,
    samples: list[Sample],
    root: Path,
    size: int,
    keep_aspect: bool,
) -> Iterator[tuple[int, np.ndarray]]:
    """`(start, rows)` in order; images are decoded in threads while the backbone works."""

    def read(block: list[Sample]) -> np.ndarray:
        return np.stack([resize_rgb(_read_known(root, sample), size, keep_aspect) for sample in block])

    step = params.batch_size
    blocks = [samples[i : i + step] for i in range(0, len(samples), step)]
    with ThreadPoolExecutor(max_workers=4) as pool, track("embedding", len(samples), "images") as advance:
        ahead = deque(pool.submit(read, block) for block in blocks[:2])
        for number, block in enumerate(blocks):
            images = ahead.popleft().result()
            ahead.extend(pool.submit(read, later) for later in blocks[number + 2 : number + 3])
            yield number * step, embed_images(backbone, params, images)
            advance(len(block))


def _read_known(root: Path, sample: Sample) -> np.ndarray:
    """The image, provided that it still is the one its id names: other pixels would poison the store."""
    path = root / sample.path
    if sha256_file(path) != sample.id:
        raise DataError(f"{path}: changed since the fetch stage; run `dvc repro`, which fetches it anew")
    return read_rgb(path)


def _layout(backbone: Backbone, params: BackboneParams, image_size: int) -> tuple[tuple[int, int], int]:
    """The grid of patches and their width, found with one blank image."""
    blank = torch.zeros((1, image_size, image_size, 3), dtype=torch.uint8, device=backbone.device)
    levels = backbone.levels(blank)
    _, H, W, D = embed_patches(levels, params.pretrain_dim, params.target_dim, params.patch_size).shape
    return (H, W), D


def _restore(rows: np.ndarray, i: int, key: str, id: str) -> bool:
    path = entry_path("features", key, f"{id}.npy")
    if path is None or not path.is_file():
        return False
    rows[i] = np.load(path)
    return True


def _keep(row: np.ndarray, key: str, id: str) -> None:
    path = entry_path("features", key, f"{id}.npy")
    if path is not None:
        with atomic_path(path) as temporary:
            np.save(temporary, row)
