"""What is known about the published datasets, read from `catalogue.yaml`.

docs/datasets.md tells how papers use each set; what nobody has checked against the files is `unconfirmed`.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter

from adlib.base.yaml import read_yaml
from adlib.config.numbers import Block, Count, Sha256

Number = Annotated[int, Field(ge=0)]


class Archive(Block):
    """A file to download.

    Attributes:
        urls: mirrors, tried in order; none where the file lies behind a form or a login.
        sha256: of its bytes; None if nobody published it.
    """

    file: str
    urls: tuple[str, ...] = ()
    sha256: Sha256 | None = None


class Counts(NamedTuple):
    """Images as published: training, normal test, anomalous test; without a split, `train` is 0."""

    train: Number
    normal: Number
    anomalous: Number


class Benchmark(Block):
    """One published dataset.

    Attributes:
        masks: whether pixel masks are read.
        split: whether a split is published; if not, `fetch` draws one.
        counts_sure: whether other numbers are a problem, or the published ones may be wrong.
        package: the distribution and version that carries it, `name==version`; "" if none does.
        by_hand: what to do where no archive can be downloaded, with `{home}` and `{file}`.
        unconfirmed: facts that nobody has checked against the files yet.
    """

    title: str
    home: str
    licence: str
    citation: str
    categories: Count
    masks: bool
    split: bool = True
    counts: Counts | None = None
    counts_sure: bool = True
    package: str = ""
    archives: tuple[Archive, ...] = ()
    by_hand: str = ""
    unconfirmed: str = ""

    @property
    def test_only(self) -> bool:
        """Whether the set is published without normal images."""
        return self.counts is not None and self.counts.train == self.counts.normal == 0

    @property
    def instructions(self) -> str:
        """What to do by hand, with the addresses filled in."""
        file = self.archives[0].file if self.archives else "the archive"
        return self.by_hand.format(home=self.home, file=file)


@cache
def catalogue() -> dict[str, Benchmark]:
    """Every published dataset by its name in params.yaml."""
    raw = read_yaml(Path(__file__).with_name("catalogue.yaml"))
    return TypeAdapter(dict[str, Benchmark]).validate_python(raw, strict=False)
