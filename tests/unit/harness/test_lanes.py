"""How a run is shared out between workers."""

from pathlib import Path

import pytest
from lanes import lane, turn

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("nodeid", "stays_with"),
    [
        ("tests/e2e/cluster/test_main_path.py::test_install", "e2e/cluster"),
        ("tests/apiserver/test_definitions.py::test_a[tests/x]", "apiserver"),
        ("tests/unit/api/test_globs.py::test_globs[a::b]", "unit/api/test_globs.py"),
    ],
)
def test_a_folder_stays_together_and_below_unit_a_file(nodeid: str, stays_with: str) -> None:
    assert lane(nodeid) == stays_with


def test_every_tier_has_its_turn_and_the_cluster_the_first() -> None:
    turns = {
        file: turn(f"tests/{file.relative_to(TESTS)}::test")
        for file in TESTS.rglob("test_*.py")
        if "soak" not in file.parts
    }
    assert {file.parent.name for file, place in turns.items() if place == 0} == {"cluster"}
    assert max(turns.values()) == turn("tests/unit/api/test_globs.py::test")
