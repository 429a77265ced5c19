"""An image is built again when, and only when, what it is made from changed."""

from pathlib import Path

import pytest
from images.content import content_hash, inputs

DOCKERFILE = """ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE} AS build
COPY requirements.txt ./
COPY --chmod=755 src \\
     other/ app/
RUN true
FROM ${BASE_IMAGE}
COPY --from=build /app /app
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name, text in {
        "Dockerfile": DOCKERFILE,
        "requirements.txt": "six==1.17.0\n",
        "src/app.py": "print(1)\n",
        "src/sub/more.py": "print(2)\n",
        "other/run.sh": "true\n",
        "beside.txt": "not copied\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def hashed(context: Path, *parts: str) -> str:
    return content_hash(context / "Dockerfile", context, *parts)


def test_inputs_are_what_the_dockerfile_copies(context: Path) -> None:
    found = [str(file.relative_to(context)) for file in inputs(context / "Dockerfile", context)]
    assert found == ["requirements.txt", "src/app.py", "src/sub/more.py", "other/run.sh"]


@pytest.mark.parametrize("changed", ["Dockerfile", "requirements.txt", "src/sub/more.py"])
def test_a_change_of_an_input_changes_the_hash(context: Path, changed: str) -> None:
    before = hashed(context)
    with (context / changed).open("a") as file:
        file.write("# changed\n")
    assert hashed(context) != before


def test_a_renamed_file_changes_the_hash(context: Path) -> None:
    before = hashed(context)
    (context / "src/app.py").rename(context / "src/main.py")
    assert hashed(context) != before


def test_a_file_that_can_now_be_executed_changes_the_hash(context: Path) -> None:
    before = hashed(context)
    (context / "other/run.sh").chmod(0o755)
    assert hashed(context) != before


def test_the_base_is_part_of_the_hash(context: Path) -> None:
    assert hashed(context, "one") != hashed(context, "two")


def test_what_tools_leave_behind_changes_nothing(context: Path) -> None:
    before = hashed(context)
    (context / "src/__pycache__").mkdir()
    (context / "src/__pycache__/app.pyc").write_bytes(b"\0")
    (context / "src/app.egg-info").mkdir()
    (context / "beside.txt").write_text("changed\n")
    assert hashed(context) == before
