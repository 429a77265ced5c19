"""file:// models: a directory or one file of this machine, used where it lies."""

import os
from collections.abc import Mapping
from pathlib import Path

from nexus_models.errors import ModelNotFound, NotAllowed, UnsafeModel
from nexus_models.files import is_safe

ROOTS_VARIABLE = "NEXUS_MODEL_FILE_ROOTS"


def resolve(path: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Follow a file:// path to the model that it names: a directory, or one file.

    Raises:
        UnsafeModel: it is one file, in a format that cannot be opened without running code.
        ModelError: as `located`.
    """
    place = located(path, environ)
    if place.is_file() and not is_safe(place):
        raise UnsafeModel(
            f"file://{path}: a {place.suffix or 'nameless'} file cannot be opened without running "
            "code; use safetensors, gguf or onnx"
        )
    return place


def located(path: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Follow a file:// path to what it names, if this machine opens that place to models.

    `NEXUS_MODEL_FILE_ROOTS` lists the directories that are open, parted by `:`; unset means any
    place (a laptop), empty means none (a cluster).

    Raises:
        NotAllowed: the path, with its links followed, lies under no open directory.
        ModelNotFound: nothing is there.
    """
    origin = f"file://{path}"
    try:
        place = Path(path).resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelNotFound(f"{origin}: there is no such file or directory") from None
    except OSError as error:
        raise ModelNotFound(f"{origin}: {error.strerror}") from error
    roots = environ.get(ROOTS_VARIABLE)
    if roots is not None and not _under(place, roots):
        raise NotAllowed(
            f"{origin}: file:// models are open below {roots or 'no directory'} only "
            f"({ROOTS_VARIABLE})"
        )
    return place


def _under(place: Path, roots: str) -> bool:
    return any(place.is_relative_to(Path(root).resolve()) for root in roots.split(":") if root)
