"""A fetched model at a path of one's choice, for engines that want a plain folder."""

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

from nexus_models.cache import LOCK_SECONDS
from nexus_models.errors import DigestMismatch
from nexus_models.files import (
    ModelFiles,
    digest_of,
    from_json,
    record,
    refreshed,
    safe_files,
    to_json,
    write_json,
)
from nexus_models.locks import exclusive

_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})


def place(model: ModelFiles, to: Path) -> bool:
    """Have the files of `model` at the folder `to`, all of them or none.

    They share their blocks with the cache where the file system can.  What is there already is
    checked and kept when it is this model, else replaced.  A record of digests lies beside the
    folder, at `<to>.json`.  Any number of processes may do this at once.

    Returns:
        Whether anything had to be done.

    Raises:
        CacheBusy: another process has been at it for longer than the deadline.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(to.with_name(f".{to.name}.lock"), deadline=LOCK_SECONDS):
        if _is_there(model, to):
            return False
        with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as scratch:
            draft = Path(scratch, "model")
            for path in model.files:
                _link(path, draft / path.relative_to(model.dir))
            files = record(draft, safe_files(draft))
            if digest_of(files) != model.digest:
                raise DigestMismatch(f"{model.dir}: the files changed while they were placed")
            draft.chmod(0o755)
            if to.exists():
                to.rename(Path(scratch, "before"))
            draft.rename(to)
            write_json(to.with_name(f"{to.name}.json"), to_json(files))
    return True


def _is_there(model: ModelFiles, to: Path) -> bool:
    try:
        files = from_json(json.loads(to.with_name(f"{to.name}.json").read_text("utf-8")))
        refreshed(to, files, origin=str(to))
    except (OSError, ValueError, TypeError, DigestMismatch):
        return False
    return digest_of(files) == model.digest


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, target)
