"""The corpus of good and bad YAML, judged by our admission; tests/apiserver judges it for real."""

from pathlib import Path

import pytest

from nexus_api.kinds import KINDS, UnknownKind
from nexus_api.manifests import BadManifest, load_manifests
from nexus_api.validation import Invalid, admit

CORPUS = Path(__file__).parent / "corpus"


def paths(folder: str) -> list[Path]:
    found = sorted((CORPUS / folder).glob("*.yaml"))
    assert found, f"the corpus has no {folder}"
    return found


def expected(path: Path) -> tuple[str, str]:
    """Return field and message fragment from the first line, `# refused: FIELD: FRAGMENT`."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    field, fragment = first.removeprefix("# refused: ").split(": ", 1)
    return field, fragment


def told(path: Path) -> list[tuple[str, str]]:
    """Return field and text of each problem that the last manifest of a file has."""
    try:
        old = None
        for manifest in load_manifests(path.read_text(encoding="utf-8")):
            old = admit(manifest, old)
    except BadManifest as error:
        return [(f"line {error.line}", str(error))]
    except UnknownKind as error:
        return [("kind", str(error))]
    except Invalid as error:
        return [(problem.field, str(problem)) for problem in error.problems]
    return []


@pytest.mark.parametrize("path", paths("good"), ids=lambda path: path.stem)
def test_good_yaml_is_admitted_and_parsed(path: Path) -> None:
    for manifest in load_manifests(path.read_text(encoding="utf-8")):
        stored = admit(manifest)
        parsed = KINDS[manifest["kind"]].model.model_validate(stored)
        assert parsed.manifest()["spec"] == stored["spec"], "the type and the schema agree"
        assert admit(stored) == stored, "admission changes nothing the second time"


@pytest.mark.parametrize("path", paths("bad"), ids=lambda path: path.stem)
def test_bad_yaml_is_refused_by_field_and_message(path: Path) -> None:
    field, fragment = expected(path)
    problems = told(path)
    assert any(field == where and fragment in text for where, text in problems), problems


@pytest.mark.parametrize("path", paths("updates/good"), ids=lambda path: path.stem)
def test_good_update_is_admitted(path: Path) -> None:
    assert told(path) == []


@pytest.mark.parametrize("path", paths("updates/bad"), ids=lambda path: path.stem)
def test_bad_update_is_refused_by_field_and_message(path: Path) -> None:
    field, fragment = expected(path)
    problems = told(path)
    assert any(field == where and fragment in text for where, text in problems), problems


def test_every_field_of_every_spec_has_a_bad_example() -> None:
    named = set()
    for path in paths("bad"):
        field = expected(path)[0].split("[")[0]
        named.add((path.stem.split("-")[0], field))
    missing = [
        f"{kind.name}: {path}"
        for kind in KINDS.values()
        for path in leaves(kind.name)
        if (kind.short, path) not in named
    ]
    assert missing == []


def leaves(kind: str) -> list[str]:
    from nexus_api.schema import Schema, structural_schema

    found: list[str] = []

    def walk(node: Schema, path: str) -> None:
        if "properties" in node:
            for name, child in node["properties"].items():
                walk(child, f"{path}.{name}")
        else:
            found.append(path)

    walk(structural_schema(kind)["properties"]["spec"], "spec")
    return found
