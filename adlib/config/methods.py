"""The blocks of params.yaml: every knob, its type and its bounds. `adlib.config.params` puts them together.

Those of methods that train on an auxiliary set are in `adlib.config.methods`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from adlib.config.networks import ClipParams
from adlib.config.numbers import Block, Count, Fraction, NonNegative, Positive, odd


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
    """Neighbourhood density before training (`adlib.learning.methods.comet.prior`; not in the paper)."""

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
    """Painted defects as twins of training patches (`comet.twins`; not in the paper)."""

    share: Annotated[float, Field(ge=0, le=1)]
    distance: NonNegative
    defects: Count


class DistancesParams(Block):
    """A second discriminator that learns distances (`comet.distances`; not in the paper)."""

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


class ZeroShotParams(Block):
    """What is particular to CoZAD on an auxiliary set; all else is `CozadParams`."""

    tasks_by: Literal["random", "category"]
    standardise: Literal["auxiliary", "image"]
    calibrate: Literal["none", "image"]


class TransductiveParams(Block):
    """Mutual scoring of the unlabelled test images (see `adlib.learning.methods.cozad.mutual`)."""

    enabled: bool
    bank: Count
    share: Annotated[float, Field(gt=0, le=1)]


class CozadZeroParams(ZeroShotParams):
    """Method `cozad-zero`, and its transductive variant, on which no fit depends."""

    transductive: TransductiveParams


class CozadZeroSettings(CozadSettings):
    """What a fit on the auxiliary set reads."""

    zero: ZeroShotParams


class AfTokensParams(Block):
    """AF-CLIP's adaptor, losses and banks over the backbone's patches (method `af-tokens`)."""

    shots: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    adaptor: bool
    windows: Annotated[tuple[Annotated[int, Field(ge=1), AfterValidator(odd)], ...], Field(min_length=1)]
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


class AfClipParams(AfTokensParams):
    """The same on CLIP's tokens, with prompts (methods AF-CLIP and AF-CLIP+)."""

    prompt_length: Annotated[int, Field(ge=0)]
    prompt_std: Positive
    compile: bool
    checkpointing: bool


class AfClipSettings(Block):
    """What an AF-CLIP fit reads. The tower is named by the features' key, and so left out of the fit's."""

    clip: Annotated[ClipParams, Field(exclude=True)]
    afclip: AfClipParams
