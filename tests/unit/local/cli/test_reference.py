"""The page on the command line names every verb and every option."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from nexus_local.cli.main import app

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "cli.md"
SHARED = "Options of every verb that speaks to a platform"
GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def options(command: Any) -> set[str]:
    return {
        name
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
    } - {"--help", "-h"}


def named(section: str) -> set[str]:
    return set(re.findall(r"`(--?[A-Za-z][A-Za-z-]*)`", section))


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_a_section_with_its_options_and_an_example(verb: str) -> None:
    found = sections()
    section = found[f"`nexus {verb}`"]
    shared = named(found[SHARED])
    wanted = options(COMMANDS[verb])
    own = wanted if verb in {"demo", "up", "doctor"} else wanted - shared
    assert named(section) == own
    assert f"nexus {verb}" in section.split("```sh")[1].split("```")[0]


@pytest.mark.parametrize("verb", sorted(COMMANDS.keys() - {"demo", "up", "doctor"}))
def test_the_shared_options_are_shared(verb: str) -> None:
    assert named(sections()[SHARED]) - {"--context", "--url"} <= options(COMMANDS[verb])


def test_nothing_but_verbs_has_a_section_of_a_verb() -> None:
    titled = {title.strip("`") for title in sections() if title.startswith("`nexus ")}
    assert titled == {f"nexus {verb}" for verb in COMMANDS}


def test_every_variable_of_an_option_is_named() -> None:
    environment = sections()["Environment"]
    variables = {
        parameter.envvar
        for command in COMMANDS.values()
        for parameter in command.params
        if isinstance(parameter.envvar, str)
    }
    assert [name for name in sorted(variables) if f"`{name}`" not in environment] == []
