"""The static import closure, on a small project written by each test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys import ROOT

from adlib.base import code
from adlib.base.code import code_version, import_closure

FILES = {
    "stages/__init__.py": "",
    "stages/train.py": "from adlib.core import run\n\ndef main():\n    from adlib import late\n",
    "adlib/__init__.py": "VERSION = 1\n",
    "adlib/core.py": "import adlib.tools.hammer as h\nfrom adlib.tools import saw, Name\nimport numpy\n",
    "adlib/late.py": "import adlib.config.params\nif True:\n    import adlib.deep.inner.leaf\n",
    "adlib/config/params.py": "from adlib.core import run\n",
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
INERT = {"adlib/__init__.py", "adlib/config/params.py"}
USED = {name for name, text in FILES.items() if text and "unused" not in name}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(code, "ROOT", tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code_version.cache_clear()
    yield tmp_path
    code_version.cache_clear()


def names(*modules: str) -> list[str]:
    return [path.as_posix() for path in import_closure(*modules)]


def test_closure():
    """Functions, submodules named by `from`, package files with code, relative code, cycles."""
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
    """An edit counts if the file is used, may change a number (config may not), and holds code."""
    before = version()
    assert version() == before
    with (root / name).open("a") as file:
        file.write("# an edit\n")
    changed = version() != before
    package_file = name in ("stages/__init__.py", "adlib/deep/__init__.py")
    empty_module = name == "adlib/tools/screw.py"
    assert changed == (name in USED - INERT or package_file or empty_module)


def test_inert_files_exist():
    assert all((ROOT / place).exists() for place in code.INERT)


def test_moving_code_between_files_is_an_edit(root: Path):
    """Names and contents are told apart: the same bytes under other names are another version."""
    before = version()
    a, b = root / "adlib/tools/saw.py", root / "adlib/tools/nail.py"
    text = a.read_text(), b.read_text()
    a.write_text(text[1])
    b.write_text(text[0])
    assert version() != before
