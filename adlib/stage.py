"""How a stage script reports an error that the user can mend."""

import functools
import sys
from collections.abc import Callable

from adlib.errors import UserError


def stage(main: Callable[..., None]) -> Callable[..., None]:
    """Print a `UserError` as one message and exit with 1; any other exception keeps its traceback."""

    @functools.wraps(main)
    def run(*arguments: str) -> None:
        try:
            main(*arguments)
        except UserError as error:
            sys.exit(f"error: {error}")

    return run
