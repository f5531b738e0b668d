"""The blocks of params.yaml about images: which ones, how much dirt among them, and the threshold."""

from typing import Annotated, Literal

from pydantic import Field

from adlib.config.numbers import Block, Count, Fraction, Name, Sha256

# The keys of adlib.datasets.DATASETS.
DatasetName = Literal[
    "elpv", "textile", "samples", "folder", "globs",
    "mvtec", "visa", "btad", "ksdd", "ksdd2", "rsdd", "dagm", "dtd-synthetic", "mpdd", "viaduct",
    "mvtec-ad-2", "mvtec-loco", "real-iad",
    "headct", "brainmri", "br35h", "isic", "cvc-clinicdb", "cvc-colondb", "kvasir",
]  # fmt: skip


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
    """The decision threshold, from calibration images alone (see `adlib.fits.threshold`)."""

    fpr: Annotated[float, Field(gt=0, lt=1)]
    trim: Annotated[float, Field(ge=0, le=0.5)]
    contamination: Annotated[float, Field(ge=0, le=0.5)]
