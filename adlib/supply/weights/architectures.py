"""Do a file's tensors belong to a network? Compared by name and shape with the network without weights."""

from collections.abc import Mapping
from dataclasses import dataclass

import timm
import torch
import torchvision
from torch import Tensor

from adlib.embedding.networks.clip_loading import blank_clip, fitting
from adlib.embedding.networks.identity import WeightsError


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many tensors and numbers a network has, and what is wrong with those of a file."""

    tensors: int
    numbers: int
    problems: tuple[str, ...]


def compare(state: dict[str, Tensor], architecture: str) -> Comparison:
    """Compare named tensors with an architecture: `timm/…`, `torchvision/…` or `open_clip/…`.

    The classifier of a timm network is left out: it is not used, and some weights are published without one.

    Raises:
        WeightsError: no such architecture.
    """
    library, _, name = architecture.partition("/")
    if library == "open_clip":
        model = blank_clip(name)
        state = fitting(state, model)
    else:
        model = _blank_network(library, name)
    unused = _classifiers(model)
    wanted = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(unused)}
    state = {name: tensor for name, tensor in state.items() if not name.startswith(unused)}
    found = [
        _problem("missing", [name for name in wanted if name not in state]),
        _problem("of no use here", [name for name in state if name not in wanted]),
        _problem(
            "of another shape",
            [
                f"{name}: {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
                for name, tensor in wanted.items()
                if name in state and state[name].shape != tensor.shape
            ],
        ),
        _problem("not finite", broken_tensors(state)),
    ]
    numbers = sum(tensor.numel() for tensor in wanted.values())
    return Comparison(len(wanted), numbers, tuple(problem for problem in found if problem))


def broken_tensors(state: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that hold an infinity or a NaN."""
    return [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]


def _blank_network(library: str, name: str) -> torch.nn.Module:
    known = timm.is_model(name) if library == "timm" else name in torchvision.models.list_models()
    if not known:
        raise WeightsError(f"{library} has no model {name!r}")
    with torch.device("meta"):
        if library == "timm":
            return timm.create_model(name, pretrained=False)
        return torchvision.models.get_model(name, weights=None)


def _classifiers(model: torch.nn.Module) -> tuple[str, ...]:
    """What the names of a timm network's classifiers begin with."""
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _problem(what: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} {what}, the first is {names[0]}"
