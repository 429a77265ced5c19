"""The Dockerfiles that users build keep the rules that the cluster relies on."""

import re
import tomllib
from pathlib import Path

import pytest
from images.catalogue import NAMES, OWN, ROOT, recipe
from images.content import inputs
from images.errors import ImageMissing

BASES = r"^ARG BASE_IMAGE=(python:3\.11|debian:bookworm)-slim$"
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()


def text(name: str) -> str:
    return recipe(name).dockerfile.read_text()


@pytest.mark.parametrize("name", NAMES)
class TestEveryDockerfile:
    def test_takes_its_base_as_an_argument_and_pulls_nothing_else(self, name: str) -> None:
        assert re.search(BASES, text(name), re.MULTILINE)
        assert set(re.findall(r"^FROM (\S+)", text(name), re.MULTILINE)) <= {
            "${BASE_IMAGE}",
            "dependencies",
        }

    def test_runs_as_a_numeric_user_that_is_not_root(self, name: str) -> None:
        *_, user = re.findall(r"^USER (\d+):(\d+)$", text(name), re.MULTILINE)
        assert user == (("999", "999") if name == "postgresql" else ("65532", "65532"))

    def test_names_no_address_of_a_package_index(self, name: str) -> None:
        assert not re.search(r"index-url|trusted-host|https?://", text(name))


@pytest.mark.parametrize("name", OWN)
class TestOurDockerfiles:
    def test_installs_only_what_is_pinned_by_hash(self, name: str) -> None:
        installs = re.findall(r"pip[^&]*? install .*?(?=&&|\n[A-Z])", text(name), re.DOTALL)
        assert installs
        assert all("--require-hashes" in line or "--no-index" in line for line in installs)

    def test_installs_the_locks_of_what_it_is_for(self, name: str) -> None:
        for lock in recipe(name).locks:
            assert f"COPY {lock.relative_to(ROOT)} ./" in text(name)
            assert f"-r {lock.name}" in text(name) or "-r locked.txt" in text(name)

    def test_copies_every_distribution_that_it_depends_on(self, name: str) -> None:
        wanted = recipe(name)
        copied = set(inputs(wanted.dockerfile, ROOT))
        todo, seen = [*wanted.distributions], set[Path]()
        while todo:
            folder = todo.pop()
            seen.add(folder)
            assert folder / "pyproject.toml" in copied
            assert any(folder / "src" in file.parents for file in copied)
            todo += [path for path in workspace_dependencies(folder) if path not in seen]
        copied_projects = {file.parent for file in copied if file.name == "pyproject.toml"}
        assert copied_projects == seen

    def test_what_it_copies_is_not_left_out_of_the_context(self, name: str) -> None:
        let_in = tuple(str(ROOT / line[1:]) for line in IGNORED if line.startswith("!"))
        assert IGNORED.index("*") < min(
            IGNORED.index(f"!{x[len(str(ROOT)) + 1 :]}") for x in let_in
        )
        for file in inputs(recipe(name).dockerfile, ROOT):
            assert str(file).startswith(let_in), file

    def test_its_label_describes_it_as_its_distribution_does(self, name: str) -> None:
        wanted = recipe(name)
        if len(wanted.distributions) > 1:  # then its own words say what they are together for
            assert re.search(r'image\.description="[A-Z][^"]{20,}\."', text(name))
            return
        file = wanted.distributions[0] / "pyproject.toml"
        project = tomllib.loads(file.read_text())["project"]
        assert f'image.description="{project["description"]}"' in text(name)

    def test_its_entry_point_is_a_script_of_its_distribution(self, name: str) -> None:
        folder = recipe(name).distributions[0]
        scripts = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["scripts"]
        assert f'ENTRYPOINT ["{next(iter(scripts))}"]' in text(name)


def workspace_dependencies(folder: Path) -> list[Path]:
    sources = tomllib.loads((folder / "pyproject.toml").read_text())
    names = sources.get("tool", {}).get("uv", {}).get("sources", {})
    return [projects()[name] for name in names]


def projects() -> dict[str, Path]:
    files = [*ROOT.glob("operator/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
    return {tomllib.loads(file.read_text())["project"]["name"]: file.parent for file in files}


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ImageMissing, match="there is no image 'nexus-nothing': choose among"):
        recipe("nexus-nothing")
