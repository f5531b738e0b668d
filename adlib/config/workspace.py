"""What the stage scripts share: which image set they work on, and how they report an error."""

from pathlib import Path

from adlib.config.images import DatasetParams
from adlib.config.params import Params

OUTPUTS = Path("outputs")


def image_set(params: Params, block: str) -> tuple[DatasetParams, Path]:
    """The image set of a block of params.yaml, `dataset` or `auxiliary`, and the folder of its outputs."""
    return {"dataset": (params.dataset, OUTPUTS), "auxiliary": (params.auxiliary, OUTPUTS / "auxiliary")}[
        block
    ]
