"""The blocks of params.yaml about frozen networks: backbone, rotated views, gradient maps, CLIP."""

from typing import Annotated

from pydantic import AfterValidator, Field

from adlib.config.numbers import Block, Count, NonNegative, Sha256, _increasing, odd


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
    """Rotated views at several scales, for the flow methods (`adlib.embedding.rotations`)."""

    backbone: NetworkParams
    sizes: Annotated[tuple[Annotated[int, Field(ge=32, le=2048)], ...], Field(min_length=1)]
    count: Count
    seed: Annotated[int, Field(ge=0)]
    batch_size: Count


class GradientMapsParams(Block):
    """Where a flow's score comes from (`adlib.fits.maps`)."""

    rotations: Annotated[int, Field(ge=0)]
    cells: Annotated[int, Field(ge=4, le=512)]
    batch_size: Count


class ClipParams(Block):
    """A frozen CLIP model, and which of its tokens are kept (`adlib.embedding.tokens`)."""

    name: Annotated[str, Field(min_length=1)]
    weights: Annotated[str, Field(min_length=1)] | None
    sha256: Sha256 | None
    image_size: Annotated[int, Field(ge=32, le=2048)]
    blocks: Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(_increasing)] | None
    batch_size: Count
    max_gb: NonNegative
