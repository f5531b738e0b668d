"""Frozen CLIP towers through open_clip: tokens of chosen blocks, at another image size than was trained on.

The model is never changed: the position grid is resized on the fly (open_clip's own resize is bicubic with
antialias and rewrites the model; AF-CLIP's is bilinear without), and nothing in it takes a gradient.
"""

import difflib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from adlib.data.images import resize_rgb, sha256_file
from adlib.features.checkpoints import read_tensors
from adlib.features.weights import WeightsError, state_sha256
from adlib.rng import torch_stream

SIZE = 518
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
BLOCKS = {"ViT-L-14-336": (6, 12, 18, 24), "ViT-B-16": (3, 6, 9, 12), "ViT-B-32": (3, 6, 9, 12)}
Through = Callable[[int, nn.Module, Tensor], Tensor]
# What OpenAI's checkpoints hold beside their weights, and nobody else's.
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True)
class Clip:
    """A frozen CLIP model.

    Attributes:
        model: open_clip's.
        text: its text tower, as `adlib.heads.prompts.TextTower` describes it.
        weights_sha256: of the checkpoint file, or of random weights themselves.
        quick_gelu: whether its activations are QuickGELU.
    """

    model: Any
    text: Any
    weights_sha256: str
    quick_gelu: bool

    def tokens(self, pixels: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Tokens after some blocks (see `token_taps`); no gradient."""
        with torch.no_grad():
            return token_taps(self.model.visual, pixels, blocks)

    def project(self, tokens: Tensor) -> Tensor:
        """CLIP's `ln_post` and visual projection, AF-CLIP eq. 7: `(..., D)` to `(..., E)`, differentiable."""
        visual = self.model.visual
        return visual.ln_post(tokens) @ visual.proj

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        """Token ids `(P, L)` of some texts, padded with 0 to the context length."""
        return _open_clip().tokenize(list(texts), context_length=self.text.context_length)


def load_clip(
    name: str,
    weights: str | Path,
    sha256: str | None = None,
    *,
    quick_gelu: bool | None = None,
    device: torch.device | str = "cpu",
) -> Clip:
    """Build a CLIP model and load a local checkpoint; nothing in the file is executed.

    Args:
        name: open_clip's name of the architecture, `ViT-L-14-336` for example.
        weights: `random` (always the same), or a file: OpenAI's TorchScript archive, a state dict as `.pt`,
            `.pth` or `.safetensors`, or a training checkpoint of open_clip.
        sha256: of the file; required unless the weights are random.
        quick_gelu: the activation; None takes QuickGELU for OpenAI's weights, whatever the name says, and
            else what open_clip's configuration of `name` says.
        device: where the model goes.

    Raises:
        WeightsError: open_clip is missing; an unknown name; a tower whose tokens cannot be tapped; a missing
            or changed file; tensors that do not fit; OpenAI's weights with another activation.
    """
    open_clip = _open_clip()
    config = _config(name)
    state, openai, found = None, False, None
    if str(weights) != "random":
        found = _check_file(Path(weights), sha256)
        state = read_tensors(Path(weights))
        openai = any(key in state for key in OPENAI_KEYS)
    if openai and quick_gelu is False:
        raise WeightsError(
            f"quick_gelu: {weights} holds OpenAI's weights, which were trained with QuickGELU, got false; "
            "leave it unset or set it to true"
        )
    configured = bool(config.get("quick_gelu", False))
    wanted = openai or configured if quick_gelu is None else quick_gelu
    if configured and not wanted:
        raise WeightsError(
            f"quick_gelu: {name} is configured with QuickGELU, got false; "
            f"use {name.removesuffix('-quickgelu')}"
        )
    with _without_warnings():
        model = open_clip.create_model(name, pretrained=None, device="cpu", force_quick_gelu=wanted)
    _check_towers(name, model)
    if state is None:
        _randomise(model)
    else:
        _load(model, state, name)
    model.eval().requires_grad_(False).to(device)
    identity = found or state_sha256(model)
    return Clip(model, getattr(model, "text", model), identity, has_quick_gelu(model))


def blank_clip(name: str) -> Any:
    """An open_clip model without weights, on the meta device: its tensors have names and shapes only.

    Raises:
        WeightsError: as `load_clip`, for the name.
    """
    _config(name)
    with torch.device("meta"), _without_warnings():
        model = _open_clip().create_model(name, pretrained=None, device="meta")
    _check_towers(name, model)
    return model.eval().requires_grad_(False)


def has_quick_gelu(model: nn.Module) -> bool:
    """Whether a model's activations are QuickGELU."""
    quick = _open_clip().transformer.QuickGELU
    return any(isinstance(module, quick) for module in model.modules())


def clip_frame(rgb: np.ndarray, size: int = SIZE, keep_aspect: bool = False) -> np.ndarray:
    """`(H, W, 3)` uint8 to `(size, size, 3)` uint8 as `resize_rgb`, but bicubic, as CLIP was trained."""
    return resize_rgb(rgb, size, keep_aspect, Image.Resampling.BICUBIC)


def clip_pixels(frames: Tensor) -> Tensor:
    """Normalise `(B, H, W, 3)` uint8 with CLIP's mean and standard deviation: `(B, 3, H, W)` float32."""
    mean, std = (torch.tensor(values, device=frames.device).reshape(3, 1, 1) for values in (MEAN, STD))
    return (frames.permute(0, 3, 1, 2).float() / 255 - mean) / std


def interpolate_positions(embedding: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize a position embedding to another grid: bilinear, no antialias; the class row stays as it is.

    Args:
        embedding: `(1 + n^2, D)`, the class token's row first.
        grid: rows and columns of patches.

    Returns:
        `(1 + rows * columns, D)`; the embedding that came in where the grid is its own.
    """
    rest, D = embedding.shape[0] - 1, embedding.shape[1]
    side = isqrt(rest)
    if side**2 != rest:
        raise ValueError(f"embedding: its {rest} patch rows do not fill a square grid")
    if grid == (side, side):
        return embedding
    square = embedding[1:].reshape(1, side, side, D).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=grid, mode="bilinear", align_corners=False, antialias=False)
    return torch.cat([embedding[:1], resized[0].flatten(1).T])


def token_taps(
    visual: Any, pixels: Tensor, blocks: Sequence[int], through: Through | None = None
) -> list[Tensor]:
    """Class and patch tokens after some transformer blocks, AF-CLIP eq. 2.

    Args:
        visual: an open_clip `VisionTransformer`.
        pixels: `(B, 3, H, W)`, normalised; both sides multiples of the patch size.
        blocks: which, counted from 1, increasing.
        through: takes tokens through a block instead, and may append some (`adlib.heads.tuning`).

    Returns:
        One `(B, 1 + N, D)` a block, before `ln_post`.
    """
    depth = len(visual.transformer.resblocks)
    if not blocks or list(blocks) != sorted(set(blocks)) or not 1 <= blocks[0] <= blocks[-1] <= depth:
        raise ValueError(f"blocks: must increase within 1 .. {depth}, got {list(blocks)}")
    height, width = visual.conv1.kernel_size
    B, _, H, W = pixels.shape
    if H % height or W % width:
        raise ValueError(f"pixels: sides must be multiples of the patch {height} x {width}, got {H} x {W}")
    patches = visual.conv1(pixels).flatten(2).transpose(1, 2)
    tokens = torch.cat([visual.class_embedding.to(patches).expand(B, 1, -1), patches], dim=1)
    positions = interpolate_positions(visual.positional_embedding, (H // height, W // width))
    x = visual.ln_pre(tokens + positions.to(tokens))
    taps = []
    for number, block in enumerate(visual.transformer.resblocks[: blocks[-1]], start=1):
        x = through(number, block, x) if through else block(x)
        if number in blocks:
            taps.append(x[:, : tokens.shape[1]])
    return taps


def _randomise(model: nn.Module) -> None:
    """Fixed random weights, of variance 1 / fan-in: for tests, and a lower bound to compare with."""
    generator = torch_stream(0, "random clip")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 or name.endswith("class_embedding"):
                fan_in = parameter.numel() // (len(parameter) if parameter.ndim > 1 else 1)
                parameter.normal_(std=fan_in**-0.5, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError:
        raise WeightsError(
            "CLIP needs the package open_clip_torch; install it with: pip install 'adlib[clip]'"
        ) from None
    return open_clip


@contextmanager
def _without_warnings() -> Iterator[None]:
    """open_clip warns that a model has random weights before it can be given its own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _config(name: str) -> dict[str, Any]:
    """open_clip's configuration; nothing that would be fetched from elsewhere gets past here."""
    open_clip = _open_clip()
    config = open_clip.get_model_config(name)
    if config is None:
        near = difflib.get_close_matches(name, open_clip.list_models(), n=5)
        raise WeightsError(f"open_clip has no model {name!r}; near it: {', '.join(near) or 'none'}")
    foreign = {"timm_model_name", "hf_model_name", "hf_tokenizer_name"}
    if foreign & (config["vision_cfg"].keys() | config["text_cfg"].keys()):
        raise _untappable(name, "it is built from another library's towers")
    return config


def _untappable(name: str, why: str) -> WeightsError:
    return WeightsError(
        f"{name}: its tokens cannot be tapped ({why}); use one of CLIP's own vision transformers: "
        f"{', '.join(BLOCKS)}"
    )


def _check_towers(name: str, model: Any) -> None:
    visual, text = model.visual, getattr(model, "text", model)
    if not isinstance(visual, _open_clip().transformer.VisionTransformer):
        raise _untappable(name, f"its vision tower is a {type(visual).__name__}")
    if visual.attn_pool is not None or visual.pool_type != "tok" or visual.proj is None:
        raise _untappable(name, "its image feature is not the projected class token")
    if getattr(text, "text_pool_type", getattr(text, "pool_type", None)) != "argmax":
        raise _untappable(name, "its text feature is not read at the end-of-text token")


def _check_file(path: Path, sha256: str | None) -> str:
    if not path.is_file():
        raise WeightsError(f"weights: no file {path}; allowed: random or a local checkpoint")
    found = sha256_file(path)
    if sha256 != found:
        raise WeightsError(
            f"sha256: {path} has sha256 {found}, expected {sha256}; set the right value if you trust the file"
        )
    return found


def fitting(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A checkpoint's weights under the names of an open_clip model; OpenAI's bookkeeping is left out."""
    weights = {name: tensor for name, tensor in state.items() if name not in OPENAI_KEYS}
    if "text.positional_embedding" in model.state_dict() and "positional_embedding" in weights:
        weights = _open_clip().model.convert_to_custom_text_state_dict(weights)
    return weights


def _load(model: nn.Module, state: dict[str, Tensor], name: str) -> None:
    """Load every tensor, as float32."""
    weights = {key: tensor.float() for key, tensor in fitting(state, model).items()}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        problems = [line.strip() for line in str(error).splitlines()[1:]]
        raise WeightsError(
            f"weights: the tensors do not fit {name}: {problems[0]} ({len(problems)} problems in all); "
            "name the architecture that the checkpoint belongs to"
        ) from error
