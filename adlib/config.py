"""The one schema of params.yaml: every knob, its type and its bounds.

DVC accepts any value for a key (`kappa=abc` included), so every stage reads its parameters through
`load_params`, which refuses unknown keys, wrong types and out-of-range values before any work is done.
"""

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adlib.errors import UserError

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A category or method becomes a folder, a stage name and a table cell.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]*$", max_length=80)]

# The keys of adlib.data.layouts.DATASETS.
DatasetName = Literal[
    "elpv", "textile", "samples", "folder", "globs",
    "mvtec", "visa", "btad", "ksdd", "ksdd2", "rsdd", "dagm", "dtd-synthetic", "mpdd", "viaduct",
    "mvtec-ad-2", "mvtec-loco", "real-iad",
    "headct", "brainmri", "br35h", "isic", "cvc-clinicdb", "cvc-colondb", "kvasir",
]  # fmt: skip


class ParamsError(UserError):
    """params.yaml does not fit the schema; the message has one line a problem."""


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("should be odd")
    return number


class Block(BaseModel):
    """A block of a YAML file: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


AnyBlock = TypeVar("AnyBlock", bound=Block)


def _increasing(levels: tuple[int, ...]) -> tuple[int, ...]:
    """timm returns levels in the network's order whatever is asked: two lists would name one result."""
    if list(levels) != sorted(set(levels)):
        raise ValueError("must increase (the finest level first)")
    return levels


class DatasetParams(Block):
    """Which images, from where, and how many of them."""

    name: DatasetName
    root: Annotated[str, Field(min_length=1)]
    categories: Annotated[tuple[Name, ...], Field(min_length=1)]
    version: str
    urls: tuple[Annotated[str, Field(pattern=r"^https?://")], ...]
    sha256: Sha256 | None
    max_train: Count
    max_calibration: Annotated[int, Field(ge=0)]
    calibration_share: Annotated[float, Field(ge=0, le=0.5)]
    max_test_normal: Count
    max_test_anomalous: Count
    split_seed: Annotated[int, Field(ge=0)]


class AuxiliaryParams(DatasetParams):
    """The labelled images that zero-shot methods train on, never the target's; no category: no such set."""

    categories: tuple[Name, ...]


class NoiseParams(Block):
    """Anomalies added to the training set (see `adlib.data.contaminate`)."""

    levels: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    reserve: Annotated[float, Field(ge=0, le=0.5)]
    overlap: bool


class ThresholdParams(Block):
    """The decision threshold, from calibration images alone (see `adlib.threshold`)."""

    fpr: Annotated[float, Field(gt=0, lt=1)]
    trim: Annotated[float, Field(ge=0, le=0.5)]
    contamination: Annotated[float, Field(ge=0, le=0.5)]


class NetworkParams(Block):
    """A frozen timm network, some of its levels, and its weights."""

    name: Annotated[str, Field(min_length=1)]
    out_indices: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), AfterValidator(_increasing)
    ]
    weights: Annotated[str, Field(min_length=1)]
    sha256: Sha256 | None


class BackboneParams(NetworkParams):
    """SimpleNet's patch embedding on two or more levels of a network."""

    patch_size: Annotated[int, Field(ge=1, le=15), AfterValidator(_odd)]
    pretrain_dim: Count | None
    target_dim: Count | None
    batch_size: Count


class ViewParams(Block):
    """Rotated views at several scales, for the flow methods (`adlib.features.views`)."""

    backbone: NetworkParams
    sizes: Annotated[tuple[Annotated[int, Field(ge=32, le=2048)], ...], Field(min_length=1)]
    count: Count
    seed: Annotated[int, Field(ge=0)]
    batch_size: Count


class SimpleNetHead(Block):
    """Adaptor, discriminator and their training (methods `simplenet` and `comet-sn`)."""

    hidden: Count
    sigma: Positive
    margin: Positive
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    patches_per_image: Count
    lr_adaptor: Positive
    lr_discriminator: Positive
    weight_decay: NonNegative


class FlowHead(Block):
    """DifferNet's flow and its training (methods `differnet` and `comet-nf`)."""

    blocks: Count
    hidden: Count
    clamp: Positive
    score: Literal["latent", "likelihood"]
    epochs: Count
    batch_size: Count
    views_per_image: Count
    lr: Positive
    betas: tuple[Fraction, Fraction]
    eps: Positive
    weight_decay: NonNegative


class PatchCoreParams(Block):
    """Greedy coreset memory bank (Roth et al. 2022)."""

    presample: Count
    coreset: Count
    projection_dim: Count
    neighbours: Count


class PriorParams(Block):
    """Neighbourhood density before training (`adlib.methods.prior`; not in the paper)."""

    enabled: bool
    patches: Count
    bank: Count
    neighbours: Count
    top: Count
    image_power: Positive
    patch_power: Positive


class StrategyParams(Block):
    """Soft confident learning and MAML over any head (CoMet eq. 1-9); Table 5 switches its three parts."""

    data_uncertainty: bool
    model_uncertainty: bool
    meta_learning: bool
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    floor: Annotated[float, Field(gt=0, le=1)]
    window: Annotated[int, Field(ge=2)]
    lambda0: NonNegative
    gamma: NonNegative
    tasks: Annotated[int, Field(ge=2)]
    inner_steps: Count
    inner_lr: Positive
    second_order: bool


class CometParams(StrategyParams):
    """CoMet on SimpleNet's head, which starts from a density prior."""

    prior: PriorParams


class CometSettings(Block):
    """What a CoMet-SN fit reads: kappa is a key of its own in params.yaml, the head is SimpleNet's."""

    kappa: float
    comet: CometParams
    head: SimpleNetHead


class ContrastiveParams(Block):
    """Contrastive learning on the adapted features (CoZAD eq. 1-4)."""

    lambda_cont: NonNegative
    tau: Positive
    k_nn: Annotated[int, Field(ge=0)]
    max_embeddings: Annotated[int, Field(ge=2)]
    chunk_size: Count


class CozadParams(CometParams):
    """CoMet's strategy with contrastive learning, and hard filtering for comparison (CoZAD)."""

    hard_filtering: bool
    contrastive: ContrastiveParams


class CozadSettings(Block):
    """What a CoZAD fit reads: kappa is a key of its own in params.yaml, the head is SimpleNet's."""

    kappa: float
    cozad: CozadParams
    head: SimpleNetHead


class AfTokensParams(Block):
    """AF-CLIP's adaptor, losses and banks over the backbone's patches (method `af-tokens`)."""

    shots: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    windows: Annotated[tuple[Annotated[int, Field(ge=1), AfterValidator(_odd)], ...], Field(min_length=1)]
    window_sigma: Positive
    heads: Count
    head_dim: Count
    temperature: Positive
    gamma: NonNegative
    lambda1: NonNegative
    lambda2: NonNegative
    epochs: Count
    batch_size: Count
    lr: Positive
    betas: Annotated[tuple[Fraction, ...], Field(min_length=2, max_length=2)]
    zero_shot_weight: NonNegative


class CometNfSettings(Block):
    """What a CoMet-NF fit reads: kappa is a key of its own in params.yaml, the head is DifferNet's."""

    kappa: float
    comet: StrategyParams
    head: FlowHead


class MethodsParams(Block):
    """Which methods run, by parameter profile, and their settings."""

    plain: tuple[Literal["simplenet", "patchcore"], ...]
    confident: tuple[Literal["comet-sn", "cozad"], ...]
    flow: tuple[Literal["differnet", "comet-nf"], ...]
    auxiliary: tuple[Literal["af-tokens", "cozad-zero"], ...]
    simplenet: SimpleNetHead
    patchcore: PatchCoreParams
    comet_sn: Annotated[CometParams, Field(alias="comet-sn")]
    cozad: CozadParams
    af_tokens: Annotated[AfTokensParams, Field(alias="af-tokens")]
    differnet: FlowHead
    comet_nf: Annotated[StrategyParams, Field(alias="comet-nf")]

    @property
    def names(self) -> tuple[str, ...]:
        """Every method that runs, in report order; a few-shot variant has a name of its own."""
        tried = (name for method in self.auxiliary for name in self.variants(method))
        return (*self.plain, *self.confident, *self.flow, *tried)

    def variants(self, method: str) -> tuple[str, ...]:
        """The names under which a method's results stand: one a number of shots."""
        return tuple(variant_name(method, shots) for shots in self.shots(method))

    def shots(self, method: str) -> tuple[int, ...]:
        """How many normal images of the target an auxiliary method sees, one entry a variant."""
        return self.af_tokens.shots if method == "af-tokens" else (0,)


def variant_name(method: str, shots: int) -> str:
    """The name of a method with some shots: that of its folder below fits and evaluations."""
    return f"{method}/shots-{shots}" if shots else method


def split_variant(name: str) -> tuple[str, int]:
    """Method and shots of `variant_name`."""
    method, _, shots = name.partition("/shots-")
    return method, int(shots or 0)


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
    def comet_nf(self) -> CometNfSettings:
        """Everything that the method `comet-nf` depends on."""
        return CometNfSettings(kappa=self.kappa, comet=self.methods.comet_nf, head=self.methods.differnet)

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
                "methods: plain, confident, flow and auxiliary are empty; name at least one method"
            )
        if self.methods.auxiliary and not self.auxiliary.categories:
            raise ValueError(
                f"auxiliary.categories: {', '.join(self.methods.auxiliary)} trains on them, got []; "
                "name at least one (samples has brushed, terrazzo and weave)"
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


def load_block(path: str | Path, kind: type[AnyBlock]) -> AnyBlock:
    """Read a YAML file and check it against a schema; see `load_params`."""
    try:
        raw = YAML(typ="safe", pure=True).load(Path(path))
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}; run from the project's root") from None
    except (YAMLError, ValueError) as error:  # ValueError: a date such as 2021-13-01
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    return _checked(raw, str(path), kind)


def checked_params(raw: Any, path: str) -> Params:
    """Parameters from the values of a params.yaml; `path` names them in a `ParamsError`."""
    return _checked(raw, path, Params)


def _checked(raw: Any, path: str, kind: type[AnyBlock]) -> AnyBlock:
    try:
        # Through JSON: strict mode then takes a list for a tuple, and still no string for a number.
        # A date, which JSON does not know, is shown as the user wrote it.
        return kind.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A list that is too short only because its entries are wrong is no problem of its own.
        inner = {problem["loc"][:-1] for problem in problems}
        lines = [
            f"{path}: {_describe(problem, kind)}"
            for problem in problems
            if problem["type"] != "too_short" or problem["loc"] not in inner
        ]
        raise ParamsError("\n".join(lines)) from None


def _describe(problem: Any, kind: type[BaseModel]) -> str:
    """One problem in words: the key, what is allowed, what was found."""
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        allowed = _keys(problem["loc"][:-1], kind)
        near = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{key}: unknown key; allowed here: {', '.join(allowed)}{hint}"
    if problem["type"] == "missing":
        return f"{key}: required key is missing; add it (the committed params.yaml has every key)"
    # Pydantic's words, less its names for Python's types.
    message = re.sub(r"^(Input|Tuple|String|Value error,) | after validation.*", "", problem["msg"])
    if not key and problem["type"] == "value_error":  # a check over several keys names them itself
        return message
    return f"{key or 'the file'}: {message}, got {problem['input']!r}"


def _keys(location: tuple[Any, ...], block: type[BaseModel]) -> list[str]:
    """The keys that a schema allows at a location such as `("methods", "comet-sn")` or `("rules", 0)`."""
    for part in location:
        if isinstance(part, int):  # an entry of a list: the block is that of the list
            continue
        field = next(f for name, f in block.model_fields.items() if part in (name, f.alias))
        block = next(t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type))
    return [field.alias or name for name, field in block.model_fields.items()]
