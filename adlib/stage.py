"""What the stage scripts share: which image set they work on, and how they report an error."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

from adlib.config import Params
from adlib.errors import UserError
from adlib.schema import DatasetParams

OUTPUTS = Path("outputs")


def stage(main: Callable[..., None]) -> Callable[..., None]:
    """Print a `UserError` as one message and exit with 1; any other exception keeps its traceback."""

    @functools.wraps(main)
    def run(*arguments: str) -> None:
        try:
            main(*arguments)
        except UserError as error:
            sys.exit(f"error: {error}")

    return run


def image_set(params: Params, block: str) -> tuple[DatasetParams, Path]:
    """The image set of a block of params.yaml, `dataset` or `auxiliary`, and the folder of its outputs."""
    return {"dataset": (params.dataset, OUTPUTS), "auxiliary": (params.auxiliary, OUTPUTS / "auxiliary")}[
        block
    ]
