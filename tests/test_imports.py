"""The static import closure, on a small project written by each test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adlib import imports
from adlib.imports import code_version, import_closure

FILES = {
    "stages/__init__.py": "",
    "stages/train.py": "from adlib.core import run\n\ndef main():\n    from adlib import late\n",
    "adlib/__init__.py": "VERSION = 1\n",
    "adlib/core.py": "import adlib.tools.hammer as h\nfrom adlib.tools import saw, Name\nimport numpy\n",
    "adlib/late.py": "import adlib.config\nif True:\n    import adlib.deep.inner.leaf\n",
    "adlib/config.py": "from adlib.core import run\n",
    "adlib/tools/__init__.py": "from adlib.tools.base import Name\n",
    "adlib/tools/base.py": "Name = 1\n",
    "adlib/tools/hammer.py": "from .nail import n\nfrom . import screw\nfrom ..aside import x\n",
    "adlib/tools/nail.py": "n = 1\n",
    "adlib/tools/screw.py": "",
    "adlib/tools/saw.py": "saw = 1\n",
    "adlib/tools/unused.py": "unused = 1\n",
    "adlib/aside.py": "x = 1\n",
    "adlib/deep/__init__.py": "",
    "adlib/deep/inner/__init__.py": "leaf = 0\n",
    "adlib/deep/inner/leaf.py": "leaf = 1\n",
}
USED = {name for name, text in FILES.items() if text and "unused" not in name}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code_version.cache_clear()
    yield tmp_path
    code_version.cache_clear()


def names(*modules: str) -> list[str]:
    return [path.as_posix() for path in import_closure(*modules)]


def test_closure():
    """Functions, submodules named by `from`, package files with code, relative imports, cycles."""
    assert names("stages.train") == sorted(USED)


def test_closure_of_several_modules_is_their_union():
    saw = names("adlib.tools.saw")
    assert [name.removeprefix("adlib/") for name in saw] == [
        "__init__.py",
        "tools/__init__.py",
        "tools/base.py",
        "tools/saw.py",
    ]
    union = sorted({*saw, *names("adlib.deep.inner.leaf")})
    assert names("adlib.tools.saw", "adlib.deep.inner.leaf") == union


def test_a_package_is_its_init_file():
    assert names("adlib.deep.inner") == ["adlib/__init__.py", "adlib/deep/inner/__init__.py"]


def test_nothing_is_imported(root: Path):
    """The closure is read from the text: a module that could not be imported does no harm."""
    (root / "adlib/core.py").write_text("import adlib.late\nraise SystemExit\n")
    assert "adlib/late.py" in names("stages.train")
    assert "adlib.late" not in sys.modules


def test_modules_of_others_do_not_count():
    assert names("numpy.linalg", "os", "nowhere") == []


def version() -> str:
    code_version.cache_clear()
    return code_version("stages.train")


@pytest.mark.parametrize("name", sorted(FILES))
def test_code_version_follows_the_files_in_use(root: Path, name: str):
    """An edit counts if the file is used, may change a number (config.py may not), and holds code."""
    before = version()
    assert version() == before
    with (root / name).open("a") as file:
        file.write("# an edit\n")
    changed = version() != before
    package_file = name in ("stages/__init__.py", "adlib/deep/__init__.py")
    empty_module = name == "adlib/tools/screw.py"
    assert changed == (name in USED - {"adlib/config.py"} or package_file or empty_module)


def test_inert_files_exist():
    here = Path(imports.__file__).parent.parent
    assert all((here / file).is_file() for file in imports.INERT)


def test_moving_code_between_files_is_an_edit(root: Path):
    """Names and contents are told apart: the same bytes under other names are another version."""
    before = version()
    a, b = root / "adlib/tools/saw.py", root / "adlib/tools/nail.py"
    text = a.read_text(), b.read_text()
    a.write_text(text[1])
    b.write_text(text[0])
    assert version() != before


def test_dvc_yaml_lists_the_closure(root: Path):
    """Only the lines of sources change: flags of outputs and a stage without a module of ours stay."""
    before = """stages:
  first:
    cmd: python -m stages.train "x"
    deps:
      - data
      - adlib/gone.py
      - stages/train.py
    outs:
      - out:
          push: false
  second:
    cmd: echo
"""
    after = imports.with_code_deps(before)
    listed = "".join(f"      - {file.as_posix()}\n" for file in import_closure("stages.train"))
    assert after == before.replace("      - adlib/gone.py\n      - stages/train.py\n", listed)
    assert imports.with_code_deps(after) == after
