"""Named random streams: every draw comes from one seed and a name, never from a global generator."""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, *names: str) -> int:
    """A 63-bit seed for the stream called `names` under `seed`.

    Streams with different names are independent: adding a draw to one moves no other.
    """
    text = "/".join((str(seed), *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def shuffled(ids: Iterable[str], seed: int, *names: str) -> list[str]:
    """The ids in the random order of their keyed hashes.

    Each id's rank is its own: one that is added, removed or renamed leaves the order of the others.
    """
    return sorted(ids, key=lambda id: stream_seed(seed, *names, id))


def numpy_stream(seed: int, *names: str) -> np.random.Generator:
    """The NumPy generator of a named stream."""
    return np.random.default_rng(stream_seed(seed, *names))


def torch_stream(seed: int, *names: str, device: "torch.device | str" = "cpu") -> "torch.Generator":
    """The torch generator of a named stream on `device`."""
    import torch  # the stages without tensors start seconds faster without it

    return torch.Generator(device=device).manual_seed(stream_seed(seed, *names))
