"""The GitHub workflow cannot run here: it is parsed, and every command in it must exist."""

import os
import re
import shlex
import subprocess
import tomllib

import pytest
from ruamel.yaml import YAML
from toys import ROOT
from typer.testing import CliRunner

from adlib.cli.app import app

WORKFLOW = YAML(typ="safe", pure=True).load(ROOT / ".github" / "workflows" / "adlib.yml")
STEPS = [(name, step) for name, job in WORKFLOW["jobs"].items() for step in job["steps"]]
RUNS = [step["run"] for _, step in STEPS if "run" in step]
COMMANDS = [line.strip() for run in RUNS for line in run.splitlines()]


def test_tiers():
    assert set(WORKFLOW["on"]) == {"pull_request", "schedule", "workflow_dispatch"}
    fast, full = WORKFLOW["jobs"]["fast"], WORKFLOW["jobs"]["full"]
    assert fast["if"] == "github.event_name == 'pull_request'"
    assert full["if"] == "github.event_name != 'pull_request'"
    assert WORKFLOW["jobs"]["quick"]["if"] == fast["if"]
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_every_python_that_the_project_names_is_tried():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [name.rpartition(" :: ")[2] for name in project["classifiers"] if ":: Python ::" in name]
    assert WORKFLOW["jobs"]["quick"]["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"


def test_actions_are_pinned_by_major_version():
    used = {step["uses"] for _, step in STEPS if "uses" in step}
    assert all(re.fullmatch(r"(actions|iterative)/[a-z-]+@v\d+", action) for action in used), used
    assert {action.split("@")[0] for action in used} == {
        "actions/checkout", "actions/setup-python", "actions/upload-artifact", "iterative/setup-cml",
    }  # fmt: skip


@pytest.mark.parametrize("target", sorted({c.split()[1] for c in COMMANDS if c.startswith("make ")}))
def test_make_targets_exist(target: str):
    # Not as part of a `make test` that was told where its environment lies.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "VENV")}
    subprocess.run(["make", "-n", target], cwd=ROOT, env=environment, check=True, capture_output=True)


def test_every_command_is_known():
    known = {"make", "git", "cd", "export", "eval", "adlib", "cat", "cml"}
    assert {command.split()[0] for command in COMMANDS} == known


def test_gate_commands_have_their_options():
    commands = [shlex.split(command) for command in COMMANDS if command.startswith("adlib ")]
    assert len(commands) == 2
    for _, name, *arguments in commands:
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
        options = [argument for argument in arguments if argument.startswith("--")]
        assert "--against" in options
        assert [option for option in options if option not in shown] == []


def test_the_small_profile_names_parameters_that_exist(params):
    words = shlex.split(WORKFLOW["jobs"]["fast"]["env"]["SMALL"])
    assert words[::2] == ["-S"] * (len(words) // 2)
    for assignment in words[1::2]:
        value = params
        for part in assignment.split("=")[0].split("."):
            value = getattr(value, part)
    assert [assignment.split("=")[0] for assignment in words[1::2]] == [
        "dataset.name", "dataset.root", "dataset.categories", "seeds", "image_size",
    ]  # fmt: skip


def test_fast_tests_leave_the_pipeline_out():
    """The mark that `-m "not pipeline"` leaves out is on the tests that run DVC for minutes."""
    assert "pytestmark = [pytest.mark.pipeline, " in (ROOT / "tests/pipeline/test_pipeline.py").read_text()
