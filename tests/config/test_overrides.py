"""params.yaml under `dvc exp run -S`: an override changes its own lines, and the next one works.

<<<<<<< HEAD
DVC reads the file with its comments, replaces *every* list by a new one and writes it back. What hung on the
old list is lost (comments on its entries, a comment or an empty line after it), and once a list is empty, a
comment on the line of its key takes a line break away further down, after which no YAML reader takes it.
So there must be none of these.
=======
DVC reads the file with its comments, replaces *every* list by a new one and writes it back. What belonged to
the old list is lost: comments on its entries, a comment or an empty line after it. A comment on the line of
its key is worse: once the list is emptied, a line break further down goes missing, and the file is no YAML
any more. So there must be none of these.
>>>>>>> main
"""

import difflib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML
from toys import ROOT

from adlib.base.yaml import ParamsError
from adlib.config.params import load_params

Override = Callable[..., str]
PATH = ROOT / "params.yaml"
TEXT = PATH.read_text(encoding="utf-8")


def load(text: str) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(text)


def leaves(raw: dict[str, Any], block: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in raw.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{block}{key}.")
        else:
            yield f"{block}{key}", value


VALUES = dict(leaves(load(TEXT)))
LISTS = [key for key, value in VALUES.items() if isinstance(value, list)] + ["clip.blocks"]
SCALARS = [key for key in VALUES if key not in LISTS]


def written(value: Any) -> str:
    """A value of the file as it is written behind `-S key=`."""
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def keys_of_lines(text: str) -> list[str | None]:
    """For every line the key whose value it holds; None for comments and empty lines."""
    found, path = list[str | None](), list[tuple[int, str]]()
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if name := re.match(r" *([\w-]+):", line):
            path = [(depth, part) for depth, part in path if depth < indent] + [(indent, name[1])]
        entry = line.lstrip().startswith("- ")
        found.append(".".join(part for _, part in path) if name or entry else None)
    return found


def changed_keys(before: str, after: str) -> set[str | None]:
    """The keys of all lines that differ."""
    old, new = before.splitlines(), after.splitlines()
    edits = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    old_keys, new_keys = keys_of_lines(before), keys_of_lines(after)
    return {key for kind, i, j, k, m in edits if kind != "equal" for key in (*old_keys[i:j], *new_keys[k:m])}


def remarks(text: str) -> list[str]:
    """Every comment and empty line, each with the key that follows it or stands before it."""
    shown = re.sub(r"^( *[\w-]+:)[^#\n]*|^ *- .*\n", r"\1", text, flags=re.MULTILINE)
    return shown.splitlines()


@pytest.fixture
def override(tmp_path: Path) -> Override:
    """Change a copy of params.yaml as `dvc exp run -S … -S …` does; its new text."""
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")

    def apply(*changes: str) -> str:
        before = path.read_text(encoding="utf-8")
        apply_overrides(path, list(changes))
        after = path.read_text(encoding="utf-8")
        assert changed_keys(before, after) <= {change.split("=")[0] for change in changes}
        assert remarks(after) == remarks(TEXT)
        return after

    return apply


def test_the_file_is_as_dvc_writes_it(override: Override):
    assert override("kappa=1.5") == TEXT


def test_one_number_is_one_line(override: Override):
    pairs = zip(TEXT.splitlines(), override("kappa=1.0").splitlines(), strict=True)
    (differing,) = [(before, after) for before, after in pairs if before != after]
    assert differing[1] == differing[0].replace("kappa: 1.5", "kappa: 1.0")


@pytest.mark.parametrize("key", LISTS)
def test_a_list_is_emptied_twice_and_comes_back(override: Override, key: str):
    for value in ("[]", "[]"):
        assert dict(leaves(load(override(f"{key}={value}")))) == VALUES | {key: []}
    assert override(f"{key}={written(VALUES[key])}") == TEXT


@pytest.mark.parametrize("entries", [[0.25, 1e-07, 3], ["comet-sn", "a b"]])
def test_lists_are_filled_and_emptied_together(override: Override, entries: list[Any]):
    for value in (entries, [], [], entries[:1], None, entries):
        text = override(*(f"{key}={written(value)}" for key in LISTS))
        assert dict(leaves(load(text))) == VALUES | dict.fromkeys(LISTS, value)
    assert override(*(f"{key}={written(VALUES[key])}" for key in LISTS)) == TEXT


@pytest.mark.parametrize("value", [None, True, 0.125, "an/unusually/long/path/of/a/file.pth"])
def test_scalars_take_every_kind_of_value(override: Override, value: Any):
    changes = [f"{key}={written(value)}" for key in SCALARS]
    for _ in range(2):
        text = override(*changes)
        assert dict(leaves(load(text))) == VALUES | dict.fromkeys(SCALARS, value)
    text = override(*(f"{key}={written(VALUES[key])}" for key in SCALARS))
    assert dict(leaves(load(text))) == VALUES


@pytest.mark.parametrize(
    "changes",
    [
        ["kappa=1.0", "methods.confident=[]", "methods.confident=[]", "methods.confident=[comet-sn]"],
        ["methods.confident=[]", "methods.confident=[]", "kappa=0.5"],
        ["methods.comet-sn.epochs=5", "methods.comet-sn.epochs=6"],
        ["methods.flow=[comet-nf]", "methods.flow=[]", "methods.flow=[]"],
        ["noise.levels=[0.0,0.05,0.2]", "noise.levels=[0]", "seeds=[0,1,2]"],
        ["dataset.categories=[a b]", "dataset.root=/a/longer/path", "dataset.root=x"],
        ["backbone.target_dim=64", "backbone.target_dim=null", "backbone.target_dim=32"],
        ["clip.blocks=[3,9]", "clip.blocks=null", "clip.blocks=[6]"],
        ["device='cuda:0'", "keep_aspect=true", "methods.differnet.betas=[0.5,0.9]"],
        ["methods.af-tokens.shots=[0,1,2]", "methods.af-tokens.windows=[1]"],
        ["methods.differnet.lr=1e-5", "methods.differnet.lr=3.0e-4", "methods.differnet.lr=2.0e-4"],
    ],
    ids=lambda changes: changes[0],
)
def test_after_each_of_several_runs_the_file_is_valid(override: Override, tmp_path: Path, changes: list[str]):
    for change in changes:
        override(change)
        load_params(tmp_path / "params.yaml")


def test_a_value_that_the_schema_refuses_can_be_mended(override: Override, tmp_path: Path):
    """DVC accepts any value, and leaves it in the file when the run fails."""
    override("kappa=-1", "threshold.fpr=2")
    with pytest.raises(ParamsError, match=r"kappa: should be greater than or equal to 0, got -1"):
        load_params(tmp_path / "params.yaml")
    assert override("kappa=1.5", "threshold.fpr=0.01") == TEXT


def test_the_reason_for_the_form(tmp_path: Path):
    """When this fails, ruamel.yaml is mended: comments may stand on the lines of lists again."""
    path = tmp_path / "params.yaml"
    path.write_text("names:   # which\n- a\nblock:   # what\n  first: 1\n  second: 2\n")
    apply_overrides(path, ["names=[]"])
    with pytest.raises(ParamsError, match="not valid YAML"):
        load_params(path)
