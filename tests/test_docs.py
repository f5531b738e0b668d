"""README and docs: links lead somewhere, and the files, modules, commands and targets they name exist."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from toys import ROOT
from typer.main import get_command

from adlib.cli.app import app

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
LINK = re.compile(r"\]\(([^()\s]+)\)")
FILE = re.compile(r"(?<![\w/.])((?:adlib|stages|tests|benchmarks)/[\w./-]*\w\.(?:py|yaml|csv|html|css))")
FOLDER = re.compile(r"`((?:adlib|stages|tests|benchmarks|docs|samples)/(?:[\w-]+/)*)`")
MODULE = re.compile(r"(?<![\w/.-])adlib(?:\.\w+)+")
TEST = re.compile(r"`(?:tests/)?(?:\w+/)*(test_\w+\.py)?(?:::)?(test_\w+)?`")
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_to_a_file_and_to_a_heading(page: Path):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if not re.match(r"https?:", link):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_files_and_folders_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    made = set(re.findall(r"^<!-- new: (\S+) -->", text, re.MULTILINE))
    missing = [name for name in {*FILE.findall(text), *FOLDER.findall(text)} if not (ROOT / name).exists()]
    assert not set(missing) - made


def test_modules_exist(page: Path):
    """The longest head of a dotted name that is a module, and then the names in it."""
    text = page.read_text(encoding="utf-8")
    made = {
        name.replace("/", ".")[:-3] for name in re.findall(r"^<!-- new: (\S+\.py) -->", text, re.MULTILINE)
    }
    for dotted in set(MODULE.findall(text)) - made:
        parts = dotted.split(".")
        places = (ROOT.joinpath(*parts[:n]) for n in range(len(parts), 0, -1))
        place = next(place for place in places if place.is_dir() or place.with_suffix(".py").is_file())
        rest = parts[len(place.relative_to(ROOT).parts) :]
        source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        assert len(rest) <= 1, dotted
        assert not rest or re.search(rf"\b{rest[0]}\b", source.read_text(encoding="utf-8")), dotted


def test_tests_that_are_named_exist(page: Path):
    """A function without a file belongs to the file that was named before it."""
    found: list[Path] = []
    for file, function in TEST.findall(page.read_text(encoding="utf-8")):
        if file:
            found = list((ROOT / "tests").rglob(file))
            assert found, file
        texts = [path.read_text(encoding="utf-8") for path in found]
        assert not function or any(f"def {function}(" in text for text in texts), f"{file}::{function}"


def shell(page: Path, program: str) -> Iterator[list[str]]:
    """The words behind a program wherever a page shows it as code: in spans, indented lines and fences."""
    text = page.read_text(encoding="utf-8")
    indented = re.findall(r"^ {4}(\S.*)$", FENCE.sub("", text), re.MULTILINE)
    lines = [*SPAN.findall(FENCE.sub("", text)), *indented, *"\n".join(FENCE.findall(text)).splitlines()]
    for line in lines:
        words = re.split(r" +#| \\?\| |, ", line)[0].split()
        if words[:1] == [program] and len(words) > 1:
            yield words[1:]


def test_commands_and_their_options_exist(page: Path):
    root = get_command(app)
    for words in shell(page, "adlib"):
        command, path = root, list(words)
        while path and hasattr(command, "commands") and not path[0].startswith("-"):
            if path[0] not in command.commands and command is not root and not path[0].islower():
                break
            assert path[0] in command.commands, f"adlib {' '.join(words)}"  # pyright: ignore
            command = command.commands[path.pop(0)]  # pyright: ignore
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert set(OPTION.findall(" ".join(words))) <= known, f"adlib {' '.join(words)}"


def test_targets_exist(page: Path):
    rules = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {words[0] for words in shell(page, "make")} <= rules


def test_the_readme_is_short_and_its_picture_small():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 110
    assert (ROOT / "docs/picture.png").stat().st_size < 300_000


def test_the_map_names_every_page():
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8") + (ROOT / "docs/lab/index.md").read_text(
        encoding="utf-8"
    )
    linked = {Path(link.partition("#")[0]).name for link in LINK.findall(text)}
    pages = {page.name for page in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert pages <= linked


def test_rooms_are_told_as_they_are_enforced():
    """The lines of rooms in adlib/__init__.py and docs/pipeline.md are import-linter's layers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(c for c in project["tool"]["importlinter"]["contracts"] if c["id"] == "rooms")
    layers = [line.replace("adlib.", "") for line in contract["layers"]]
    for page in ("adlib/__init__.py", "docs/pipeline.md"):
        lines = re.findall(
            r"^ {4}(\w+(?: \| \w+)*) {3,}", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE
        )
        start = lines.index(layers[0])
        assert lines[start : start + len(layers)] == layers, page
    assert {room for line in layers for room in line.split(" | ")} == {
        path.parent.name for path in (ROOT / "adlib").glob("*/__init__.py")
    }


def test_every_stage_stands_beside_its_rooms():
    """The table of stages in docs/pipeline.md says what dvc.yaml does."""
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    table = (ROOT / "docs/pipeline.md").read_text(encoding="utf-8")
    for stage, body in stages.items():
        rooms = [dep.removeprefix("adlib/") for dep in body["deps"] if dep.startswith("adlib/")]
        name = re.split(r"-(?:auxiliary|clip|confident|flow)$", stage)[0]
        lines = re.findall(rf"^ {{4}}{name}\b[^/\n]*adlib/\S+ +([a-z ]+)$", table, re.MULTILINE)
        assert " ".join(rooms) in lines, stage


def test_messages_are_those_of_the_code():
    """The first columns of docs/troubleshooting.md up to DVC's own; `…` stands for what is filled in."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "adlib").rglob("*.py"))
    source = re.sub(r'"\s+[rf]*"', "", source)  # a string goes on in the next line
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8").partition("## DVC")[0]
    messages = re.findall(r"^\| `([^|]+)`", page, re.MULTILINE)
    assert len(messages) > 25
    for message in messages:
        for part in re.split(r"…|`", message):
            words = part.strip(" :;,?")
            assert len(words) < 4 or words in source, message
