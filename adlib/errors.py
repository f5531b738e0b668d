"""Errors that the user can mend: shown as a message, without a traceback."""


class UserError(ValueError):
    """What is wrong, what is allowed, what was found, what to do."""
