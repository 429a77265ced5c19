"""A LoRA adapter by the address of its folder, held against the digest of its release."""

import logging
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nexus_api.release import ADAPTER_CONFIG, ADAPTER_FILES, ADAPTER_GGUF, adapter_digest
from nexus_api.release import ADAPTER_WEIGHTS as ADAPTER_SAFETENSORS
from nexus_api.uri import Uri, parse_uri
from nexus_models.cache import LOCK_SECONDS, remove_strays
from nexus_models.errors import DigestMismatch, ModelNotFound, UnsupportedUri
from nexus_models.fetch import Progress, fetch
from nexus_models.files import FileRecord, ModelFiles, ModelFormat, describe, record
from nexus_models.locks import exclusive
from nexus_models.sources import bucket, local

_log = logging.getLogger(__name__)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FORMS = {
    ModelFormat.SAFETENSORS: frozenset({ADAPTER_CONFIG, ADAPTER_SAFETENSORS}),
    ModelFormat.GGUF: frozenset({ADAPTER_GGUF}),
}
"""The files that an engine reads, by the format that it understands."""


def fetch_adapter(
    uri: str,
    form: ModelFormat,
    *,
    cache: Path,
    digest: str = "",
    progress: Progress | None = None,
) -> ModelFiles:
    """Bring an adapter onto this machine in the form that an engine reads.

    Args:
        uri: the address of its folder; without a digest also of one file, as for models.
        form: GGUF (llama.cpp) or SAFETENSORS, as PEFT writes it (vLLM).
        cache: the directory that holds fetched models.
        digest: what `nexus_api.release.adapter_digest` gives for its files; "" trusts the first
            look, as for models.
        progress: told when a download begins.

    Raises:
        nexus_api.uri.BadUri: the text is no address.
        DigestMismatch: the folder holds another adapter than the one that was released.
        ModelNotFound: nothing is there, or not in this form.
        ModelError: its other children say what was wrong with the way to it.
    """
    if not digest:
        files = fetch(uri, cache=cache, progress=progress)
        if files.format is not form:
            raise ModelNotFound(_lacks(uri, form))
        return files
    if not _DIGEST.fullmatch(digest):
        raise DigestMismatch(f"{uri}: {digest!r} is no digest (SHA-256 in hexadecimal)")
    folder = _released(parse_uri(uri), cache, digest, progress)
    records = _records(folder)
    wanted = [one for one in records if one.path in _FORMS[form]]
    if len(wanted) != len(_FORMS[form]):
        raise ModelNotFound(_lacks(uri, form))
    return describe(folder, wanted, origin=uri)


def _released(address: Uri, cache: Path, digest: str, progress: Progress | None) -> Path:
    """Return a folder that holds the adapter of this digest: where it lies, or in the cache."""
    if address.scheme == "file":
        folder = local.resolve(address.path)
        _check(folder, str(address), digest)
        return folder
    if address.scheme != "s3":
        raise UnsupportedUri(
            f"{address}: released adapters are fetched from s3:// and file:// addresses"
        )
    folder = cache / "adapters" / digest
    with exclusive(cache / "locks" / f"adapter-{digest}.lock", deadline=LOCK_SECONDS):
        if _is_whole(folder, digest):
            return folder
        if progress is not None:
            progress(f"fetching {address}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".fetching-{digest}-"
        remove_strays(folder.parent, prefix)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as scratch:
            draft = Path(scratch, "adapter")
            draft.mkdir()
            found = Path(scratch, "found")
            found.mkdir()
            bucket.obtain(address.name, address.path, found)
            for path in _own_files(found):
                path.rename(draft / path.name)
            _check(draft, str(address), digest)
            draft.chmod(0o755)
            if folder.exists():
                folder.rename(Path(scratch, "damaged"))
            draft.rename(folder)
    return folder


def _is_whole(folder: Path, digest: str) -> bool:
    """Say whether the cache has an adapter; a damaged one counts as absent, as with models."""
    if not folder.is_dir():
        return False
    try:
        _check(folder, str(folder), digest)
    except (DigestMismatch, ModelNotFound) as error:
        _log.warning("the copy in the cache is damaged, it is fetched again: %s", error)
        return False
    return True


def _check(folder: Path, origin: str, digest: str) -> None:
    try:
        found = adapter_digest({one.path: one.sha256 for one in _records(folder)})
    except ValueError as error:
        raise ModelNotFound(f"{origin}: {error}") from error
    if found != digest:
        raise DigestMismatch(
            f"{origin}: the adapter has the digest {found[:12]}, and {digest[:12]} was released; "
            "nothing is served from it"
        )


def _records(folder: Path) -> tuple[FileRecord, ...]:
    return record(folder, _own_files(folder))


def _own_files(folder: Path) -> Iterable[Path]:
    paths = (folder / name for name in ADAPTER_FILES)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def _lacks(uri: str, form: ModelFormat) -> str:
    names = " and ".join(sorted(_FORMS[form]))
    return f"{uri}: the adapter has no {names}, which this engine reads"
