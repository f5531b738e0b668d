"""The one schema of params.yaml: every knob, its type and its bounds.

DVC accepts any value for a key (`kappa=abc` included), so every stage reads its parameters through
`load_params`, which refuses unknown keys, wrong types and out-of-range values before any work is done.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from adlib.base.yaml import _checked, load_block
from adlib.config.images import AuxiliaryParams, DatasetParams, NoiseParams, ThresholdParams
from adlib.config.methods import (
    AfClipParams,
    AfClipSettings,
    AfTokensParams,
    CometNfSettings,
    CometSettings,
    CometSnParams,
    CozadParams,
    CozadSettings,
    CozadZeroParams,
    CozadZeroSettings,
    FlowHead,
    PaintedParams,
    PatchCoreParams,
    SimpleNetHead,
    StrategyParams,
    ZeroShotParams,
)
from adlib.config.networks import BackboneParams, ClipParams, GradientMapsParams, ViewParams
from adlib.config.numbers import Block
from adlib.config.variants import TRANSDUCTIVE, variant_name


class MethodsParams(Block):
    """Which methods run, by parameter profile, and their settings."""

    plain: tuple[Literal["simplenet", "patchcore"], ...]
    confident: tuple[Literal["comet-sn", "cozad"], ...]
    flow: tuple[Literal["differnet", "comet-nf"], ...]
    auxiliary: tuple[Literal["af-tokens", "cozad-zero"], ...]
    clip: tuple[Literal["afclip"], ...]
    simplenet: SimpleNetHead
    patchcore: PatchCoreParams
    comet_sn: Annotated[CometSnParams, Field(alias="comet-sn")]
    cozad: CozadParams
    cozad_zero: Annotated[CozadZeroParams, Field(alias="cozad-zero")]
    af_tokens: Annotated[AfTokensParams, Field(alias="af-tokens")]
    afclip: AfClipParams
    differnet: FlowHead
    comet_nf: Annotated[StrategyParams, Field(alias="comet-nf")]

    @property
    def names(self) -> tuple[str, ...]:
        """Every method that runs, in report order; a few-shot variant has a name of its own."""
        tried = (name for method in (*self.auxiliary, *self.clip) for name in self.variants(method))
        return (*self.plain, *self.confident, *self.flow, *tried)

    def variants(self, method: str) -> tuple[str, ...]:
        """The names under which a method's results stand: one a number of shots, and the transductive one."""
        names = tuple(variant_name(method, shots) for shots in self.shots(method))
        among_themselves = method == "cozad-zero" and self.cozad_zero.transductive.enabled
        return (*names, f"{method}/{TRANSDUCTIVE}") if among_themselves else names

    def painted(self, method: str) -> PaintedParams | None:
        """How painted defects enter a method's training; None: not at all."""
        return self.comet_sn.painted if method == "comet-sn" and self.comet_sn.painted.share > 0 else None

    def shots(self, method: str) -> tuple[int, ...]:
        """How many normal images of the target an auxiliary method sees, one entry a variant."""
        few_shot = {"af-tokens": self.af_tokens.shots, "afclip": self.afclip.shots}
        return few_shot.get(method, (0,))


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

    @property
    def comet_sn(self) -> CometSettings:
        """Everything that the method `comet-sn` depends on."""
        return CometSettings(kappa=self.kappa, comet=self.methods.comet_sn, head=self.methods.simplenet)

    @property
    def cozad(self) -> CozadSettings:
        """Everything that the method `cozad` depends on."""
        return CozadSettings(kappa=self.kappa, cozad=self.methods.cozad, head=self.methods.simplenet)

    @property
    def cozad_zero(self) -> CozadZeroSettings:
        """Everything that a fit of the method `cozad-zero` depends on."""
        zero = self.methods.cozad_zero.model_dump(include=set(ZeroShotParams.model_fields))
        return CozadZeroSettings(**dict(self.cozad), zero=ZeroShotParams(**zero))

    @property
    def comet_nf(self) -> CometNfSettings:
        """Everything that the method `comet-nf` depends on."""
        return CometNfSettings(kappa=self.kappa, comet=self.methods.comet_nf, head=self.methods.differnet)

    @property
    def afclip(self) -> AfClipSettings:
        """Everything that the method `afclip` depends on; its fit is the same for all shots."""
        afclip = self.methods.afclip.model_copy(update={"shots": (0,)})
        return AfClipSettings(clip=self.clip, afclip=afclip)

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
    def _weights_for_clip(self) -> Self:
        if self.methods.clip and self.clip.weights is None:
            raise ValueError(
                f"clip.weights: {', '.join(self.methods.clip)} needs CLIP's weights, got null; name a local "
                "checkpoint and its clip.sha256, or random for a trial of the route"
            )
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
