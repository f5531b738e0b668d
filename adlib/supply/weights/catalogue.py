"""Which pretrained weights are known, read from `catalogue.yaml`; any other by its architecture."""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from adlib.base.yaml import read_yaml
from adlib.config.numbers import Block
from adlib.embedding.networks.identity import WeightsError

LIBRARIES = ("timm", "torchvision", "open_clip")


class WeightsFile(Block):
    """A file to download, under a name that no other has.

    Attributes:
        urls: mirrors, tried in order.
        hub: `owner/repository/file` on the Hugging Face hub, tried after them.
        sha256: of its bytes, or the first digits of it; "" if nobody published it.
    """

    file: str
    urls: tuple[str, ...] = ()
    hub: str = ""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{8,64})?$")] = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address, the hub's last."""
        return (*self.urls, *((hub_url(self.hub),) if self.hub else ()))


class Weights(Block):
    """Pretrained weights of one network.

    Attributes:
        architecture: `timm/…`, `torchvision/…` or `open_clip/…`: the network that they must fit.
        block: of params.yaml that uses them, `views.backbone` for example.
        settings: what that block says then, beside the network's name, the file and its checksum.
        package: a key of `backbones.PACKAGED`, and then the network's name in params.yaml; ""
            if no package carries them.
        files: alternatives, tried in order.
    """

    title: str
    architecture: Annotated[str, Field(pattern=rf"^({'|'.join(LIBRARIES)})/[^/]+$")]
    licence: str
    block: str
    settings: dict[str, Any] = Field(default_factory=dict)
    package: str = ""
    files: tuple[WeightsFile, ...] = ()


@cache
def catalogue() -> dict[str, Weights]:
    """All known weights by name."""
    raw = read_yaml(Path(__file__).with_name("catalogue.yaml"))
    return TypeAdapter(dict[str, Weights]).validate_python(raw, strict=False)


def find_weights(name: str) -> Weights:
    """An entry of the catalogue, or one without files for an architecture such as `timm/resnet34`.

    Raises:
        WeightsError: neither.
    """
    if name in catalogue():
        return catalogue()[name]
    library, _, model = name.partition("/")
    if library not in LIBRARIES or not model:
        raise WeightsError(
            f"{name}: no such weights; allowed: {', '.join(catalogue())}, or an architecture such as "
            "timm/resnet34 or open_clip/ViT-B-16 together with --file, --url or --hub"
        )
    block = "clip" if library == "open_clip" else "backbone"
    return Weights(title=name, architecture=name, licence="see its source", block=block)


def hub_url(path: str) -> str:
    """The address of `owner/repository/file` on the hub, or on the mirror that `HF_ENDPOINT` names.

    Raises:
        WeightsError: the path has another form.
    """
    parts = path.split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise WeightsError(f"--hub: {path} is not of the form owner/repository/file")
    owner, repository, file = parts
    base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return f"{base}/{owner}/{repository}/resolve/main/{file}"
