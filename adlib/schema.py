"""The blocks of params.yaml: every knob, its type and its bounds. `adlib.config` puts them together.

Those of methods that train on an auxiliary set are in `adlib.schema_auxiliary`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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


def odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("should be odd")
    return number


class Block(BaseModel):
    """A block of a YAML file: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _increasing(levels: tuple[int, ...]) -> tuple[int, ...]:
    """Levels and blocks come in the network's order whatever is asked: two lists would name one result."""
    if list(levels) != sorted(set(levels)):
        raise ValueError("must increase (the first of the network first)")
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

    patch_size: Annotated[int, Field(ge=1, le=15), AfterValidator(odd)]
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


class GradientMapsParams(Block):
    """Where a flow's score comes from (`adlib.gradient_maps`)."""

    rotations: Annotated[int, Field(ge=0)]
    cells: Annotated[int, Field(ge=4, le=512)]
    batch_size: Count


class ClipParams(Block):
    """A frozen CLIP model, and which of its tokens are kept (`adlib.features.clip_rows`)."""

    name: Annotated[str, Field(min_length=1)]
    weights: Annotated[str, Field(min_length=1)] | None
    sha256: Sha256 | None
    image_size: Annotated[int, Field(ge=32, le=2048)]
    blocks: Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(_increasing)] | None
    batch_size: Count
    max_gb: NonNegative


class SimpleNetHead(Block):
    """Adaptor, discriminator and their training (methods `simplenet` and `comet-sn`)."""

    hidden: Count
    standardise: bool
    sigma: Positive
    margin: Positive
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    patches_per_image: Count
    optimiser: Literal["adam", "sgd"]
    annealed: bool
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
    optimiser: Literal["adam", "sgd"]
    annealed: bool
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
    image_power: NonNegative
    patch_power: NonNegative


class StrategyParams(Block):
    """Soft confident learning and MAML over any head (CoMet eq. 1-9); Table 5 switches its three parts."""

    data_uncertainty: bool
    model_uncertainty: bool
    meta_learning: bool
    loss: Literal["mean", "sum"]
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

    confidence_patches: Annotated[float, Field(gt=0, le=1)]
    prior: PriorParams


class PaintedParams(Block):
    """Painted defects as twins of training patches (`adlib.methods.twins`; not in the paper)."""

    share: Annotated[float, Field(ge=0, le=1)]
    distance: NonNegative
    defects: Count


class DistancesParams(Block):
    """A second discriminator that learns distances (`adlib.methods.distances`; not in the paper)."""

    enabled: bool
    patches: Count
    trusted: Annotated[float, Field(ge=0, le=1)]
    steps: Count


class CometSnParams(CometParams):
    """CoMet-SN: with painted twins besides noisy ones, and a discriminator of distances beside its own."""

    painted: PaintedParams
    distances: DistancesParams


class CometSettings(Block):
    """What a CoMet-SN fit reads: kappa is a key of its own in params.yaml, the head is SimpleNet's."""

    kappa: float
    comet: CometSnParams
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


class CometNfSettings(Block):
    """What a CoMet-NF fit reads: kappa is a key of its own in params.yaml, the head is DifferNet's."""

    kappa: float
    comet: StrategyParams
    head: FlowHead
