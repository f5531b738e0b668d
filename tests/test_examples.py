"""The examples in the docstrings of equations and metrics: every public name has one, and all are true."""

import doctest
import importlib
import inspect
from types import ModuleType

import pytest
from toys import ROOT

FOLDERS = ("adlib/learning/equations", "adlib/evaluation/metrics")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in FOLDERS
    for path in (ROOT / folder).glob("*.py")
    if path.name != "__init__.py"
)
# What only names the parts of a result, or a type.
PLAIN = {"DelongResult", "Ranking", "TensorLike"}


def public(module: ModuleType) -> set[str]:
    """The functions and classes that a module defines for others."""
    found = inspect.getmembers(module, lambda o: inspect.isfunction(o) or inspect.isclass(o))
    return {name for name, o in found if o.__module__ == module.__name__ and not name.startswith("_")}


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str):
    module = importlib.import_module(name)
    examples = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    assert public(module) - PLAIN <= {test.name.removeprefix(f"{name}.") for test in examples}
    found = doctest.testmod(module)
    assert found.failed == 0
