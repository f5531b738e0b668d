"""AlexNet's convolutions, the backbone of DifferNet and CoMet-NF: timm has none, torchvision's are used."""

from collections.abc import Sequence

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights, alexnet

NAME = "alexnet"
LAYERS = 13  # of torchvision's `features`, counted from 0; the last one is DifferNet's level


class AlexNetLevels(nn.Module):
    """Maps after some of the 13 layers of torchvision's `features`; 12 is the last pooling (DifferNet 3.1).

    Args:
        out_indices: increasing, within 0 .. 12.
        pretrained: fetch torchvision's ImageNet weights, checked by the hash in their name. Without them
            there are no weights at all, not even random ones: load or draw them.

    Raises:
        IndexError: there is no such layer.
        OSError, RuntimeError: the weights cannot be fetched, or are not the published ones.
    """

    # Where timm's networks tell how to normalise images.
    pretrained_cfg = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}  # noqa: RUF012

    def __init__(self, out_indices: Sequence[int], pretrained: bool = False) -> None:
        super().__init__()
        if not all(0 <= index < LAYERS for index in out_indices):
            raise IndexError(f"its layers are 0 .. {LAYERS - 1}, and {LAYERS - 1} ends its convolutions")
        with torch.device("meta"):  # the classifier's 58 million weights are not wanted
            features = alexnet().features
        for layer in features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # it would overwrite the level before it
        self.features = features.to_empty(device="cpu")
        self.out_indices = frozenset(out_indices)
        if pretrained:
            state = AlexNet_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True, weights_only=True)
            self.load_state_dict({name: state[name] for name in self.state_dict()})

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(B, 3, H, W)` to one `(B, C, h, w)` a level."""
        levels = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.out_indices:
                levels.append(x)
        return levels
