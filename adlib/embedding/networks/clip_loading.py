"""CLIP models through open_clip, with weights from a local checkpoint, fixed random ones, or none at all."""

import difflib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adlib.base.rng import torch_stream
from adlib.embedding.networks.checkpoints import checked_sha256, read_tensors
from adlib.embedding.networks.clip import BLOCKS, Clip, open_clip_module
from adlib.embedding.networks.identity import WeightsError, state_sha256

# What OpenAI's checkpoints hold beside their weights, and nobody else's.
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")


def load_clip(
    name: str,
    weights: str | Path,
    sha256: str | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Clip:
    """Build a CLIP model and load a local checkpoint; nothing in the file is executed.

    OpenAI's weights get the activation they were trained with, QuickGELU, whatever the name says.

    Args:
        name: open_clip's name of the architecture, `ViT-L-14-336` for example.
        weights: `random` (always the same), or a file: OpenAI's TorchScript archive, a state dict as `.pt`,
            `.pth` or `.safetensors`, or a training checkpoint of open_clip.
        sha256: of the file; required unless the weights are random.
        device: where the model goes.

    Raises:
        WeightsError: open_clip is missing; an unknown name; a tower whose tokens cannot be tapped; a missing
            or changed file; tensors that do not fit.
    """
    open_clip = open_clip_module()
    config = _config(name)
    state, found, quick_gelu = None, None, bool(config.get("quick_gelu", False))
    if str(weights) != "random":
        found = checked_sha256(Path(weights), sha256, "", "random or a local checkpoint")
        state = read_tensors(Path(weights))
        quick_gelu = quick_gelu or any(key in state for key in OPENAI_KEYS)
    with _without_warnings():
        model = open_clip.create_model(name, pretrained=None, device="cpu", force_quick_gelu=quick_gelu)
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
        model = open_clip_module().create_model(name, pretrained=None, device="meta")
    _check_towers(name, model)
    return model.eval().requires_grad_(False)


def has_quick_gelu(model: nn.Module) -> bool:
    """Whether a model's activations are QuickGELU."""
    quick = open_clip_module().transformer.QuickGELU
    return any(isinstance(module, quick) for module in model.modules())


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
    open_clip = open_clip_module()
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
    if not isinstance(visual, open_clip_module().transformer.VisionTransformer):
        raise _untappable(name, f"its vision tower is a {type(visual).__name__}")
    if visual.attn_pool is not None or visual.pool_type != "tok" or visual.proj is None:
        raise _untappable(name, "its image feature is not the projected class token")
    if getattr(text, "text_pool_type", getattr(text, "pool_type", None)) != "argmax":
        raise _untappable(name, "its text feature is not read at the end-of-text token")


def fitting(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A checkpoint's weights under the names of an open_clip model; OpenAI's bookkeeping is left out."""
    weights = {name: tensor for name, tensor in state.items() if name not in OPENAI_KEYS}
    if "text.positional_embedding" in model.state_dict() and "positional_embedding" in weights:
        weights = open_clip_module().model.convert_to_custom_text_state_dict(weights)
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
