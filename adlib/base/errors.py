"""Errors that the user can mend: shown as a message, without a traceback, by commands and stages."""

import functools
import sys
from collections.abc import Callable


class UserError(ValueError):
    """What is wrong, what is allowed, what was found, what to do."""


def stage(main: Callable[..., None]) -> Callable[..., None]:
    """Print a `UserError` as one message and exit with 1; any other exception keeps its traceback."""

    @functools.wraps(main)
    def run(*arguments: str) -> None:
        try:
            main(*arguments)
        except UserError as error:
            sys.exit(f"error: {error}")

    return run
