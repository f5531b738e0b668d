"""The blocks of params.yaml for methods trained on an auxiliary set (`methods.auxiliary`, `methods.clip`)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from adlib.schema import Block, ClipParams, Count, CozadSettings, Fraction, NonNegative, Positive, odd


class ZeroShotParams(Block):
    """What is particular to CoZAD on an auxiliary set; all else is `CozadParams`."""

    tasks_by: Literal["random", "category"]
    standardise: Literal["auxiliary", "image"]
    calibrate: Literal["none", "image"]


class TransductiveParams(Block):
    """Mutual scoring of the unlabelled test images (see `adlib.methods.mutual`)."""

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
