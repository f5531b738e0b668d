"""YAML files: read, checked against a schema, and every problem in words that name the key."""

import difflib
import json
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adlib.base.errors import UserError


class ParamsError(UserError):
    """A YAML file cannot be read or does not fit its schema; the message has one line per problem."""


AnyBlock = TypeVar("AnyBlock", bound=BaseModel)


def read_yaml(path: str | Path) -> Any:
    """What a YAML 1.2 file says, as DVC reads it: `1e-4` is a number, `no` is a word.

    Raises:
        ParamsError: it cannot be read or is not YAML.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}; run from the project's root") from None
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes | str, name: str) -> Any:
    """The same for the content of a file; `name` stands for it in a `ParamsError`."""
    try:
        return YAML(typ="safe", pure=True).load(content)
    except (YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date such as 2021-13-01
        raise ParamsError(f"{name}: not valid YAML: {error}") from None


def load_block(path: str | Path, kind: type[AnyBlock]) -> AnyBlock:
    """Read a YAML file and check it against a schema; see `load_params`."""
    return _checked(read_yaml(path), str(path), kind)


def _checked(raw: Any, path: str, kind: type[AnyBlock]) -> AnyBlock:
    try:
        # Through JSON: strict mode then takes a list for a tuple, and still no string for a number.
        # A date, which JSON does not know, is shown as the user wrote it.
        return kind.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A list that is too short only because its entries are wrong is no problem of its own.
        inner = {problem["loc"][:-1] for problem in problems}
        lines = [
            f"{path}: {_describe(problem, kind)}"
            for problem in problems
            if problem["type"] != "too_short" or problem["loc"] not in inner
        ]
        raise ParamsError("\n".join(lines)) from None


def _describe(problem: Any, kind: type[BaseModel]) -> str:
    """One problem in words: the key, what is allowed, what was found."""
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        allowed = _keys(problem["loc"][:-1], kind)
        near = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{key}: unknown key; allowed here: {', '.join(allowed)}{hint}"
    if problem["type"] == "missing":
        return f"{key}: required key is missing; add it (the committed params.yaml has every key)"
    # Pydantic's words, less its names for Python's types.
    message = re.sub(r"^(Input|Tuple|String|Value error,) | after validation.*", "", problem["msg"])
    if not key and problem["type"] == "value_error":  # a check over several keys names them itself
        return message
    return f"{key or 'the file'}: {message}, got {problem['input']!r}"


def _keys(location: tuple[Any, ...], block: type[BaseModel]) -> list[str]:
    """The keys that a schema allows at a location such as `("methods", "comet-sn")` or `("rules", 0)`."""
    for part in location:
        if isinstance(part, int):  # an entry of a list: the block is that of the list
            continue
        field = next(f for name, f in block.model_fields.items() if part in (name, f.alias))
        block = next(t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type))
    return [field.alias or name for name, field in block.model_fields.items()]
