"""Files of output parameters: where a pod writes them, and reading them back."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from nexus_local.workflows.pods import LONGEST_OUTPUT, Output


class OutputUnreadable(Exception):
    """An output parameter is no text, or longer than a cluster would take."""


def prepare(folder: Path, outputs: Iterable[Output]) -> dict[str, Path]:
    """Make an empty folder and return container path -> path here for each output.

    Names are numbers, because a parameter's name is not ours to use as a path.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return {output.path: folder / str(number) for number, output in enumerate(outputs)}


def read(folder: Path, outputs: Iterable[Output]) -> dict[str, str | None]:
    """Return output name -> text, None when the file is not there, and remove the folder.

    Raises OutputUnreadable.
    """
    found: dict[str, str | None] = {}
    try:
        for number, output in enumerate(outputs):
            found[output.name] = _read_one(folder / str(number), output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def clear(folder: Path) -> None:
    """Remove what a run left behind."""
    shutil.rmtree(folder, ignore_errors=True)


def _read_one(path: Path, output: Output) -> str | None:
    try:
        with path.open("rb") as stream:
            content = stream.read(LONGEST_OUTPUT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputUnreadable(f"output parameter {output.name} cannot be read: {error}") from error
    if len(content) > LONGEST_OUTPUT:
        raise OutputUnreadable(
            f"output parameter {output.name} is longer than {LONGEST_OUTPUT // 1024} KiB; "
            "write the data to the work store and pass its key"
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise OutputUnreadable(
            f"output parameter {output.name} is not UTF-8 text: {error}"
        ) from error
