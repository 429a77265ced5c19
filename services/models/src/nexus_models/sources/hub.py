"""hf:// models: a repository of the Hugging Face Hub, data files only."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nexus_models.errors import (
    AmbiguousModel,
    FetchFailed,
    ModelError,
    ModelNotFound,
    NotAllowed,
    UnsafeModel,
)
from nexus_models.files import is_safe, sha256_of

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

ENDPOINT_VARIABLE = "HF_ENDPOINT"
TIMEOUT = 30.0  # seconds for one answer of the Hub; downloads have their own retries

_WEIGHTS = (".safetensors", ".gguf", ".onnx")
_EXPORTS = frozenset({"onnx", "openvino", "coreml", "tf", "original"})


def obtain(
    repository: str,
    into: Path,
    *,
    revision: str = "",
    path: str = "",
    environ: Mapping[str, str] = os.environ,
) -> Path:
    """Download the model of a repository into an empty directory and return that directory.

    The revision is resolved to a commit once, and every file is taken from that commit.

    Args:
        repository: `organisation/name`.
        into: where to.
        revision: a branch, tag or commit; "" is the default branch.
        path: one weight file of several; "" when the repository holds one model.
        environ: HF_ENDPOINT in it names another Hub; the token is the client's own affair.

    Raises:
        ModelNotFound: no such repository, revision or file, or it hides from strangers.
        NotAllowed: it is gated, or the token may not read it.
        UnsafeModel: it holds no weights in a safe format.
        AmbiguousModel: it holds several models.
        FetchFailed: the Hub could not be reached, or what came was damaged.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    origin = f"hf://{repository}" + (f"@{revision}" if revision else "")
    api = HfApi(endpoint=environ.get(ENDPOINT_VARIABLE, "").rstrip("/") or None)
    try:
        info = api.model_info(
            repository, revision=revision or None, timeout=TIMEOUT, files_metadata=True
        )
        listed = {item.rfilename: item for item in info.siblings or []}
        for name in choose(list(listed), path, origin=origin):
            # The client's own cache stays out of it: ours is the one copy, and it is checked.
            got = api.hf_hub_download(
                repository, name, revision=info.sha, local_dir=into,
                cache_dir=into / ".cache", etag_timeout=TIMEOUT,
            )  # fmt: skip
            _check(Path(got), listed[name], origin)
    except HFValidationError as error:
        raise ModelNotFound(f"{origin}: the Hub allows no such name: {error}") from error
    except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
        raise _explained(origin, error) from error
    return into / PurePosixPath(path).parent if path else into


def choose(names: Sequence[str], path: str, *, origin: str) -> list[str]:
    """Choose the files of one model: its weights, tokenizer and configuration.

    Exports of the same weights in folders of their own (onnx/, openvino/) stay behind.
    """
    paths = [PurePosixPath(name) for name in names]
    safe = [
        name for name, place in zip(names, paths, strict=True) if is_safe(place) and _inside(place)
    ]
    if path and path not in safe:
        raise ModelNotFound(f"{origin}: there is no {path} in a safe format in the repository")
    weights = [path] if path else _weights(safe, origin)
    others = [
        name
        for name in safe
        if not _is_weights(name) and PurePosixPath(name).parts[0] not in _EXPORTS
    ]
    return weights + others


def _weights(safe: Sequence[str], origin: str) -> list[str]:
    top = [name for name in safe if "/" not in name and _is_weights(name)]
    for suffix in _WEIGHTS:
        found = [name for name in top if name.lower().endswith(suffix)]
        if suffix == ".gguf" and len(found) > 1:
            raise AmbiguousModel(
                f"{origin}: several GGUF files, name one of them: {', '.join(sorted(found))}"
            )
        if found:
            return found
    raise UnsafeModel(f"{origin}: no weights as {', '.join(_WEIGHTS)} in the repository")


def _inside(name: PurePosixPath) -> bool:
    """Say whether a listed name stays below the directory that it is written to."""
    return not name.is_absolute() and ".." not in name.parts


def _is_weights(name: str) -> bool:
    return name.lower().endswith(_WEIGHTS)


def _check(file: Path, listed: "RepoSibling", origin: str) -> None:
    """Hold a file against what the Hub's listing says of it; small files have no sha256 there."""
    size = file.stat().st_size
    if listed.size is not None and size != listed.size:
        raise FetchFailed(
            f"{origin}: {listed.rfilename} came damaged, {size} bytes instead of {listed.size}"
        )
    if listed.lfs is not None and sha256_of(file) != listed.lfs.sha256:
        raise FetchFailed(
            f"{origin}: {listed.rfilename} came damaged, its sha256 is not the one the Hub lists"
        )


def _explained(origin: str, error: Exception) -> ModelError:
    """Turn what the Hub's client raised into a typed error.

    The client wraps an answer that it did not like in "not found on this disk"; what the Hub
    said is then the cause.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    said: BaseException = error
    while said.__cause__ is not None and not isinstance(said, HfHubHTTPError):
        said = said.__cause__
    if not isinstance(said, HfHubHTTPError):
        return FetchFailed(f"{origin}: the download from the Hub failed: {said}")
    status = said.response.status_code
    if isinstance(said, GatedRepoError):
        return NotAllowed(
            f"{origin}: the model is gated; accept its terms on the Hub, then set HF_TOKEN to a "
            "token of that account"
        )
    if isinstance(said, RepositoryNotFoundError) or status in {404, 410}:
        return ModelNotFound(
            f"{origin}: the Hub has no such model, revision or file, or it is closed (set HF_TOKEN)"
        )
    if status in {401, 403}:
        return NotAllowed(
            f"{origin}: the Hub refuses to give it out (status {status}); set HF_TOKEN to a token "
            "that may read it"
        )
    return FetchFailed(f"{origin}: the download from the Hub failed: {said}")
