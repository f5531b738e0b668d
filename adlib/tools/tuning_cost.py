"""What it costs to tune CLIP for AF-CLIP in four ways: parameters, memory, operations per image (Table 5).

Everything is counted on the meta device, which needs neither weights nor memory nor time.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from adlib.base.yaml import read_yaml
from adlib.embedding.networks.clip import BLOCKS, SIZE, token_taps
from adlib.embedding.networks.clip_loading import blank_clip, load_clip
from adlib.learning.heads.adaptor import AnomalyAdaptor
from adlib.learning.heads.prompts import LENGTH, PromptPrefix
from adlib.learning.heads.tokens import aggregate_neighbours
from adlib.tools.tuning_ways import DEPTHS, LowRank, TokenPrompts

WINDOWS = (1, 3, 5)
PAPER = Path(__file__).parents[1] / "papers" / "afclip-tuning.yaml"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one way of tuning.

    Attributes:
        parameters: trainable, the text prompts' included.
        memory_mib: of a training step with one image, float32: the vision tower, what the backward pass needs
            (with attention that is not fused: an upper bound), and for each trained number itself, its
            gradient and Adam's two moments. The text side is left out.
        gflops: 10^9 floating-point operations to score an image, a multiplication and an addition being two.
    """

    way: str
    parameters: int
    memory_mib: float
    gflops: float


# Given the tower's width and the tapped blocks.
WAYS: dict[str, Callable[[int, Sequence[int]], nn.Module]] = {
    "prompt": lambda dim, _: TokenPrompts(dim, LENGTH),
    "prefix": lambda dim, _: TokenPrompts(dim, LENGTH, DEPTHS),
    "lora": lambda dim, blocks: LowRank(dim, blocks),
    "adaptor": lambda dim, _: AnomalyAdaptor(dim),
}


def tuning_costs(
    name: str = "ViT-L-14-336", image_size: int = SIZE, blocks: Sequence[int] | None = None
) -> list[Cost]:
    """Count parameters and operations of every way.

    Args:
        name: open_clip's, of a vision transformer.
        image_size: pixels, a multiple of the tower's patch.
        blocks: tapped, counted from 1; None: four at equal distances.

    Raises:
        WeightsError: no such tower.
    """
    model = blank_clip(name)
    visual, text = model.visual, getattr(model, "text", model)
    dim, blocks = len(visual.class_embedding), blocks or quarters(name, visual)
    costs = []
    for way, build in WAYS.items():
        with torch.device("meta"):
            module = build(dim, blocks)
            prompts = PromptPrefix(text.token_embedding.weight.shape[1])
            pixels = torch.empty(1, 3, image_size, image_size)
        trained = sum(p.numel() for p in (*module.parameters(), *prompts.parameters()))
        with FlopCounterMode(display=False) as counter:
            kept = kept_bytes(partial(tuned_tokens, visual, pixels, blocks, module))
        frozen = sum(p.numel() for p in visual.parameters())
        memory = kept + 4 * frozen + 16 * trained
        costs.append(Cost(way, trained, memory / 2**20, counter.get_total_flops() / 1e9))
    return costs


def kept_bytes(forward: Callable[[], object]) -> int:
    """Bytes that a forward pass keeps for the backward pass, parameters not counted."""
    kept: dict[int, torch.UntypedStorage] = {}  # by address, and alive: no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter) and not isinstance(tensor._base, nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for storage in kept.values())


def times_per_image(
    name: str, image_size: int, device: torch.device, blocks: Sequence[int] | None = None, repeats: int = 3
) -> dict[str, float]:
    """Seconds from pixels to the projected tokens of one image, for each way; random weights, the median.

    Args:
        name, image_size, blocks: as `tuning_costs`.
        device: where it runs, in float32.
        repeats: timed runs, after one that is not.
    """
    visual = load_clip(name, "random", device=device).model.visual
    dim, blocks = len(visual.class_embedding), blocks or quarters(name, visual)
    pixels = torch.zeros(1, 3, image_size, image_size, device=device)
    return {
        way: _median_seconds(
            partial(tuned_tokens, visual, pixels, blocks, build(dim, blocks).to(device)), device, repeats
        )
        for way, build in WAYS.items()
    }


@torch.inference_mode()
def _median_seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def quarters(name: str, visual: Any) -> tuple[int, ...]:
    """The blocks that AF-CLIP taps in a tower, counted from 1: the ends of its four quarters."""
    depth = len(visual.transformer.resblocks)
    return BLOCKS.get(name) or tuple(depth * quarter // 4 for quarter in (1, 2, 3, 4))


def tuned_tokens(
    visual: Any, pixels: Tensor, blocks: Sequence[int], module: nn.Module, windows: Sequence[int] = WINDOWS
) -> list[Tensor]:
    """The projected tokens v of a tuned tower (AF-CLIP eq. 2-7), one `(B, 1 + N, E)` per block and window.

    Args:
        visual: open_clip's vision transformer, frozen.
        pixels: `(B, 3, H, W)`, normalised.
        blocks: tapped, counted from 1.
        module: one of `WAYS`: the adaptor works behind the taps, the others inside the tower.
        windows: of the aggregation.
    """
    inside = not isinstance(module, AnomalyAdaptor)
    taps = token_taps(visual, pixels, blocks, module if inside else None)
    scales = [aggregate_neighbours(tokens, window) for tokens in taps for window in windows]
    return [visual.ln_post(tokens if inside else module(tokens)) @ visual.proj for tokens in scales]


def paper_costs() -> dict[str, Cost]:
    """The paper's numbers, for ViT-L/14@336px at 518 x 518; how it counts operations it does not say."""
    rows = read_yaml(PAPER)
    return {way: Cost(way, row["parameters"], row["memory_mib"], row["gflops"]) for way, row in rows.items()}
