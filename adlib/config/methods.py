"""The methods in params.yaml: one section for each, with its block and what its fit reads.

A new method is a class here that derives from `MethodBlock`, and a line in `MethodsParams` that names it.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from adlib.config.numbers import Block, Count, Fraction, NonNegative, Positive, odd
from adlib.config.variants import TRANSDUCTIVE, variant_name

if TYPE_CHECKING:
    from adlib.config.params import Params


class PaintedParams(Block):
    """Painted defects as twins of training patches (`comet.twins`; not in the paper)."""

    share: Annotated[float, Field(ge=0, le=1)]
    distance: NonNegative
    defects: Count


class MethodBlock(Block):
    """A method's block of params.yaml, and what the rest of the project asks of it.

    Attributes:
        group: the list of `methods` that may name it, which is the group of stages that runs it.
    """

    group: ClassVar[str]

    def settings(self, params: "Params") -> Block:
        """All that the method's fit reads, and nothing else: it is part of the key of a stored fit."""
        return self

    def check(self, params: "Params") -> None:
        """Refuse what does not fit with other blocks; called for every method that runs.

        Raises:
            ValueError: names the key, what is allowed and what was found.
        """

    @property
    def variants(self) -> tuple[str, ...]:
        """What stands behind the method's name in a result's name: one entry for each variant that runs."""
        return ("",)

    @property
    def paints(self) -> PaintedParams | None:
        """How painted defects enter its training; None: not at all."""
        return None


# ---- SimpleNet ------------------------------------------------------------------------------------------


class SimpleNetHead(MethodBlock):
    """Adaptor, discriminator and their training: method `simplenet`, and the head of CoMet-SN and CoZAD."""

    group: ClassVar[str] = "plain"

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


# ---- DifferNet ------------------------------------------------------------------------------------------


class FlowHead(MethodBlock):
    """DifferNet's flow and its training: method `differnet`, and the head of CoMet-NF."""

    group: ClassVar[str] = "flow"

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


# ---- PatchCore ------------------------------------------------------------------------------------------


class PatchCoreParams(MethodBlock):
    """Greedy coreset memory bank (Roth et al. 2022)."""

    group: ClassVar[str] = "plain"

    presample: Count
    coreset: Count
    projection_dim: Count
    neighbours: Count


# ---- CoMet: the strategy, over SimpleNet (comet-sn) and over a flow (comet-nf) --------------------------


class PriorParams(Block):
    """Neighbourhood density before training (`adlib.learning.methods.comet.prior`; not in the paper)."""

    enabled: bool
    patches: Count
    bank: Count
    neighbours: Count
    top: Count
    image_power: NonNegative
    patch_power: NonNegative


class StrategyParams(MethodBlock):
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


class DistancesParams(Block):
    """A second discriminator that learns distances (`comet.distances`; not in the paper)."""

    enabled: bool
    patches: Count
    trusted: Annotated[float, Field(ge=0, le=1)]
    steps: Count


class CometSnParams(CometParams):
    """CoMet-SN: with painted twins besides noisy ones, and a discriminator of distances beside its own."""

    group: ClassVar[str] = "confident"

    painted: PaintedParams
    distances: DistancesParams

    def settings(self, params: "Params") -> "CometSettings":
        """The strategy, kappa and SimpleNet's head."""
        return CometSettings(kappa=params.kappa, comet=self, head=params.methods.simplenet)

    @property
    def paints(self) -> PaintedParams | None:
        """Its own block, unless no share of the twins is to be painted."""
        return self.painted if self.painted.share > 0 else None


class CometSettings(Block):
    """What a CoMet-SN fit reads: kappa is a key of its own in params.yaml, the head is SimpleNet's."""

    kappa: float
    comet: CometSnParams
    head: SimpleNetHead


class CometNfParams(StrategyParams):
    """CoMet's strategy over DifferNet's flow."""

    group: ClassVar[str] = "flow"

    def settings(self, params: "Params") -> "CometNfSettings":
        """The strategy, kappa and DifferNet's head."""
        return CometNfSettings(kappa=params.kappa, comet=self, head=params.methods.differnet)


class CometNfSettings(Block):
    """What a CoMet-NF fit reads: kappa is a key of its own in params.yaml, the head is DifferNet's."""

    kappa: float
    comet: StrategyParams
    head: FlowHead


# ---- CoZAD: on the target's own images (cozad), and on an auxiliary set (cozad-zero) --------------------


class ContrastiveParams(Block):
    """Contrastive learning on the adapted features (CoZAD eq. 1-4)."""

    lambda_cont: NonNegative
    tau: Positive
    k_nn: Annotated[int, Field(ge=0)]
    max_embeddings: Annotated[int, Field(ge=2)]
    chunk_size: Count


class CozadParams(CometParams):
    """CoMet's strategy with contrastive learning, and hard filtering for comparison (CoZAD)."""

    group: ClassVar[str] = "confident"

    hard_filtering: bool
    contrastive: ContrastiveParams

    def settings(self, params: "Params") -> "CozadSettings":
        """The strategy with its extra term, kappa and SimpleNet's head."""
        return CozadSettings(kappa=params.kappa, cozad=self, head=params.methods.simplenet)

    def check(self, params: "Params") -> None:
        """A step must compare more patches than it takes neighbours of; few images offer fewer still."""
        images = self.batch_size // self.tasks if self.meta_learning else self.batch_size
        drawn = params.methods.simplenet.patches_per_image
        if self.prior.enabled and self.prior.patch_power > 0:
            drawn = min(drawn, self.prior.patches)
        patches = min(max(1, images) * drawn, self.contrastive.max_embeddings)
        if self.contrastive.lambda_cont > 0 and self.contrastive.k_nn >= patches:
            raise ValueError(
                f"methods.cozad.contrastive.k_nn: must be below the {patches} patches of a step, got "
                f"{self.contrastive.k_nn}; lower it, or raise batch_size, patches_per_image or max_embeddings"
            )


class CozadSettings(Block):
    """What a CoZAD fit reads: kappa is a key of its own in params.yaml, the head is SimpleNet's."""

    kappa: float
    cozad: CozadParams
    head: SimpleNetHead


class ZeroShotParams(MethodBlock):
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

    group: ClassVar[str] = "auxiliary"

    transductive: TransductiveParams

    def settings(self, params: "Params") -> "CozadZeroSettings":
        """All of CoZAD's, and what is particular to an auxiliary set."""
        cozad, zero = (
            params.methods.cozad.settings(params),
            self.model_dump(include=set(ZeroShotParams.model_fields)),
        )
        return CozadZeroSettings(**dict(cozad), zero=ZeroShotParams(**zero))

    def check(self, params: "Params") -> None:
        """As `cozad`, where its tasks are those of the block."""
        if self.tasks_by == "random":
            params.methods.cozad.check(params)

    @property
    def variants(self) -> tuple[str, ...]:
        """With the transductive one, if it is enabled."""
        return ("", f"/{TRANSDUCTIVE}") if self.transductive.enabled else ("",)


class CozadZeroSettings(CozadSettings):
    """What a fit on the auxiliary set reads."""

    zero: ZeroShotParams


# ---- AF-CLIP: over any backbone's patches (af-tokens), and over CLIP's tokens (afclip) -------------------


class AfTokensParams(MethodBlock):
    """AF-CLIP's adaptor, losses and banks over the backbone's patches (method `af-tokens`)."""

    group: ClassVar[str] = "auxiliary"

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

    def settings(self, params: "Params") -> Block:
        """The fit is the same for all numbers of shots."""
        return self.model_copy(update={"shots": (0,)})

    @property
    def variants(self) -> tuple[str, ...]:
        """One for each number of shots."""
        return tuple(variant_name("", shots) for shots in self.shots)


class AfClipParams(AfTokensParams):
    """The same on CLIP's tokens, with prompts (methods AF-CLIP and AF-CLIP+)."""

    group: ClassVar[str] = "clip"

    prompt_length: Annotated[int, Field(ge=0, le=72)]  # 77 tokens of context, five of them the suffix's
    prompt_std: Positive
    compile: bool
    checkpointing: bool

    def check(self, params: "Params") -> None:
        """The tower has weights."""
        if params.clip.weights is None:
            raise ValueError(
                "clip.weights: afclip needs CLIP's weights, got null; name a local checkpoint and its "
                "clip.sha256, or random for a trial of the route"
            )


# ---- all of them ----------------------------------------------------------------------------------------

Names = tuple[str, ...]


class MethodsParams(Block):
    """Which methods run, by the group of stages that runs them, and the block of every method."""

    plain: Names
    confident: Names
    flow: Names
    auxiliary: Names
    clip: Names
    simplenet: SimpleNetHead
    patchcore: PatchCoreParams
    comet_sn: Annotated[CometSnParams, Field(alias="comet-sn")]
    cozad: CozadParams
    cozad_zero: Annotated[CozadZeroParams, Field(alias="cozad-zero")]
    af_tokens: Annotated[AfTokensParams, Field(alias="af-tokens")]
    afclip: AfClipParams
    differnet: FlowHead
    comet_nf: Annotated[CometNfParams, Field(alias="comet-nf")]

    @field_validator("plain", "confident", "flow", "auxiliary", "clip")
    @classmethod
    def _known(cls, names: Names, info: ValidationInfo) -> Names:
        allowed = [name for name, block in cls.blocks().items() if block.group == info.field_name]
        if not set(names) <= set(allowed):
            raise ValueError(f"should hold {' or '.join(map(repr, allowed))} only")
        return names

    @classmethod
    def blocks(cls) -> dict[str, type[MethodBlock]]:
        """Every method that can be named, and the class of its block."""
        return {
            field.alias or name: field.annotation
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, MethodBlock)
        }

    def block(self, method: str) -> MethodBlock:
        """The block of one method."""
        return getattr(self, method.replace("-", "_"))

    @property
    def names(self) -> Names:
        """Every method that runs, in report order; a variant has a name of its own."""
        running = (*self.plain, *self.confident, *self.flow, *self.auxiliary, *self.clip)
        return tuple(name for method in running for name in self.variants(method))

    def variants(self, method: str) -> Names:
        """The names under which a method's results stand: one for each number of shots, for example."""
        return tuple(f"{method}{variant}" for variant in self.block(method).variants)
