"""`adlib --help`: every command in its panel, and every example can be typed as it stands."""

import re
import shlex

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from adlib.cli.app import COMMANDS, PANELS, app

SINGLE = [command.__name__.replace("_", "-") for _, command, *_ in COMMANDS]
GROUPED = {
    "data": ["list", "show", "verify", "fetch", "add", "init"],
    "weights": ["list", "fetch", "verify", "convert-afclip"],
}
EVERY = [[name] for name in SINGLE] + [[group, name] for group, names in GROUPED.items() for name in names]


def shown(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.output


def test_panels_stand_in_the_order_of_work():
    text = shown()
    places = [text.index(f"─ {panel} ─") for panel in PANELS]
    assert places == sorted(places)
    assert "─ Commands ─" not in text
    for panel, command, *_ in COMMANDS:
        name = command.__name__.replace("_", "-")
        inside = text[text.index(f"─ {panel} ─") :].partition("╰")[0]
        assert re.search(rf"│ {name} ", inside)
    inside = text[text.index("─ Data ─") :].partition("╰")[0]
    assert all(f"│ {group} " in inside for group in GROUPED)


def test_the_first_line_says_what_adlib_is_for():
    assert "Find the bad parts in your photographs" in shown().partition("─ Options ─")[0]


@pytest.mark.parametrize("words", EVERY, ids="-".join)
def test_examples_name_commands_and_options_that_exist(words: list[str]):
    lines = [line.strip() for line in shown(*words).splitlines() if "Example: " in line]
    assert 1 <= len(lines) <= 2
    for line in lines:
        typed = shlex.split(line.removeprefix("Example: "))
        typed = typed[: next((n for n, word in enumerate(typed) if word in ("|", ">")), None)]
        assert typed[: 1 + len(words)] == ["adlib", *words]
        command = get_command(app)
        for word in words:
            command = command.commands[word]  # pyright: ignore[reportAttributeAccessIssue]
        # Parsing refuses unknown options, missing arguments and words too many.
        command.make_context(words[-1], typed[1 + len(words) :])


def test_the_version():
    assert re.fullmatch(r"adlib \d+\.\d+\.\d+\S*\n", CliRunner().invoke(app, ["--version"]).output)
