"""What every kind of frozen network shares: the error about its weights, and their identity."""

import hashlib

from torch import nn

from adlib.base.errors import UserError


class WeightsError(UserError):
    """Weights are missing, changed, or belong to another network."""


def state_sha256(network: nn.Module) -> str:
    """One hash over names and values of all tensors: the identity of the weights, wherever they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + b"\0" + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
