"""The whole of params.yaml, and what must fit between its blocks.

DVC accepts any value for a key (`kappa=abc` included), so every stage reads its parameters through
`load_params`, which refuses unknown keys, wrong types and out-of-range values before any work is done.
"""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from adlib.base.yaml import _checked, load_block
from adlib.config.images import AuxiliaryParams, DatasetParams, NoiseParams, ThresholdParams
from adlib.config.methods import MethodsParams
from adlib.config.networks import BackboneParams, ClipParams, GradientMapsParams, ViewParams
from adlib.config.numbers import Block


class Params(Block):
    """The whole of params.yaml."""

    kappa: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    image_size: Annotated[int, Field(ge=32, le=2048)]
    keep_aspect: bool
    dataset: DatasetParams
    auxiliary: AuxiliaryParams
    noise: NoiseParams
    threshold: ThresholdParams
    backbone: BackboneParams
    views: ViewParams
    gradient_maps: GradientMapsParams
    clip: ClipParams
    methods: MethodsParams

    def settings(self, method: str) -> Any:
        """Everything that a fit of `method` reads: its block, and the keys that it shares with others."""
        return self.methods.block(method).settings(self)

    @model_validator(mode="after")
    def _no_repetition(self) -> Self:
        for key, values in {
            "seeds": self.seeds,
            "dataset.categories": self.dataset.categories,
            "auxiliary.categories": self.auxiliary.categories,
            # As a fit's folder is named by it.
            "noise.levels": tuple(f"{level:g}" for level in self.noise.levels),
            "methods": self.methods.names,
        }.items():
            if len(set(values)) != len(values):
                raise ValueError(f"{key}: every entry may stand once, got {list(values)}")
        if not self.methods.names:
            raise ValueError(
                "methods: plain, confident, flow, auxiliary and clip are empty; name at least one method"
            )
        if self.gradient_maps.rotations > self.views.count:
            raise ValueError(
                f"gradient_maps.rotations: at most views.count = {self.views.count}, "
                f"got {self.gradient_maps.rotations}"
            )
        taught = (*self.methods.auxiliary, *self.methods.clip)
        if taught and not self.auxiliary.categories:
            raise ValueError(
                f"auxiliary.categories: {', '.join(taught)} trains on them, got []; "
                "name at least one (samples has brushed, terrazzo and weave)"
            )
        return self

    @model_validator(mode="after")
    def _methods_fit(self) -> Self:
        methods = self.methods
        running = (*methods.plain, *methods.confident, *methods.flow, *methods.auxiliary, *methods.clip)
        for method in running:
            methods.block(method).check(self)
        return self


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check params.yaml.

    Args:
        path: the YAML file, read as YAML 1.2 (as DVC does, so `1e-4` is a number).

    Raises:
        ParamsError: the file is missing, is not YAML, or does not fit the schema. Every problem is a
            line of its own that names the key, what is allowed and what was found.
    """
    return load_block(path, Params)


def checked_params(raw: Any, path: str) -> Params:
    """Parameters from the values of a params.yaml; `path` names them in a `ParamsError`."""
    return _checked(raw, path, Params)
