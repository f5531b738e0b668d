"""Part 2, fast? Images a second of the embeddings, alone and with their copies, in three precisions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adlib.base.device import mixed_precision, to_device
from adlib.embedding.neighbourhoods import embed_patches
from adlib.embedding.networks.backbones import load_backbone
from adlib.embedding.patches import embed_images
from benchmarks.cuda_parts.clock import MODES, flops_of, peak_memory, seconds_of, share_of_peak
from benchmarks.cuda_parts.embeddings import backbone_params, pictures
from benchmarks.cuda_parts.isolation import NO_GPU, OK, Row, attempt
from benchmarks.cuda_parts.roles import CPU, cuda_here, precision

BATCHES = (1, 4, 16, 64, 256)
SLOW = 0.7  # seconds a batch, after which no larger one is tried


@dataclass(frozen=True)
class Timed:
    """An embedding to be timed.

    Attributes:
        what: network and image size.
        size: side of the images in pixels.
        whole: images `(B, S, S, 3)` to rows on the CPU, as a stage makes them.
        alone: the same from a tensor on the device, and the result stays there.
    """

    what: str
    size: int
    whole: Callable[[np.ndarray], Any]
    alone: Callable[[torch.Tensor], Any]


def network_rows(small: bool) -> Iterator[Row]:
    """WRN-50 and EfficientNet-Lite0 with SimpleNet's patches."""
    networks = [("resnet18", 32)] if small else [("wide_resnet50_2", 1536), ("efficientnet_lite0", None)]
    size = 64 if small else 256
    for name, width in networks:
        yield from timed(
            lambda device, n=name, w=width: _patches(n, w, size, device), f"{name}, {size} px", small
        )


def clip_rows(small: bool) -> Iterator[Row]:
    """ViT-L/14@336 at 518 pixels, tokens of four blocks; it needs open_clip."""
    from adlib.embedding.networks.clip import clip_pixels
    from adlib.embedding.tokens import chosen_blocks, embed_tokens
    from benchmarks.cuda_parts.clip import tower, tower_params

    params = tower_params(small).clip.model_copy(update={"batch_size": 1})
    blocks, what = chosen_blocks(params), f"{params.name}, {params.image_size} px"

    def make(device: torch.device) -> Timed:
        clip = tower(tower_params(small), device)

        def alone(images: torch.Tensor) -> Any:
            with mixed_precision(device):
                return clip.tokens(clip_pixels(images), blocks)

        return Timed(what, params.image_size, lambda images: embed_tokens(clip, params, images), alone)

    yield from timed(make, what, small)


def _patches(name: str, width: int | None, size: int, device: torch.device) -> Timed:
    params = backbone_params(name, batch=1, width=width)
    backbone = load_backbone(params, device)

    def alone(images: torch.Tensor) -> torch.Tensor:
        return embed_patches(backbone.levels(images), width, width)

    return Timed(f"{name}, {size} px", size, lambda images: embed_images(backbone, params, images), alone)


def timed(make: Callable[[torch.device], Timed], what: str, small: bool) -> Iterator[Row]:
    """Rows of an embedding on the GPU, and in the small check on the CPU: every precision, every batch."""
    if not cuda_here():
        for mode in MODES:
            yield Row(what, f"cuda, {mode}", NO_GPU)
        if not small:
            return
    device = torch.device("cuda:0") if cuda_here() else CPU
    embedding = make(device)
    for mode in MODES if cuda_here() else ("float32",):
        slow = False
        for batch in (1, 4) if small else BATCHES:
            how = f"{device.type}, {mode}, batch {batch}"
            if slow:
                yield Row(what, how, f"not measured: the batch before took over {SLOW} s or did not fit")
                continue
            row = attempt(what, how, lambda m=mode, b=batch, h=how: _measured(embedding, device, m, b, h))
            slow = row.status != OK or row.values["seconds"] > SLOW
            yield row


def _measured(embedding: Timed, device: torch.device, mode: str, batch: int, how: str) -> Row:
    images = np.resize(pictures(min(batch, 4), embedding.size), (batch, embedding.size, embedding.size, 3))
    with precision(tf32=mode == "tf32", half=mode == "bf16"), torch.inference_mode():
        there = to_device(images, device)
        try:
            with peak_memory(device) as memory:
                whole = seconds_of(lambda: embedding.whole(images), device, least=0.3, most=10)
            alone = seconds_of(lambda: embedding.alone(there), device, least=0.2, most=20)
        except torch.cuda.OutOfMemoryError:
            return Row(embedding.what, how, "not measured: out of memory")
        flops = flops_of(lambda: embedding.alone(there[:1])) * batch
    return Row(
        embedding.what,
        how,
        OK,
        {
            "images_s": round(batch / whole, 1),
            "alone_images_s": round(batch / alone, 1),
            "seconds": float(f"{whole:.3g}"),
            "share_of_peak": share_of_peak(flops / alone, mode),
            "gflop_an_image": round(flops / batch / 1e9, 2),
            "memory_gib": memory["gib"],
        },
    )
