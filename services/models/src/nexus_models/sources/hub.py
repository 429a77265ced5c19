"""hf:// models: a repository of the Hugging Face Hub, data files only."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from nexus_models.errors import AmbiguousModel, FetchFailed, ModelError, ModelNotFound, UnsafeModel
from nexus_models.files import is_safe

TIMEOUT = 30.0  # seconds for one answer of the Hub; downloads have their own retries

_WEIGHTS = (".safetensors", ".gguf", ".onnx")
_EXPORTS = frozenset({"onnx", "openvino", "coreml", "tf", "original"})


def obtain(
    repository: str, into: Path, *, revision: str = "", path: str = "", endpoint: str | None = None
) -> Path:
    """Download the model of a repository into an empty directory and return that directory.

    Args:
        repository: `organisation/name`.
        into: where to.
        revision: a branch, tag or commit; "" is the default branch.
        path: one weight file of several; "" when the repository holds one model.
        endpoint: another Hub; None is the one that HF_ENDPOINT names.

    Raises:
        ModelNotFound: no such repository, revision or file, or it needs a token.
        UnsafeModel: it holds no weights in a safe format.
        AmbiguousModel: it holds several models.
        FetchFailed: the Hub could not be reached.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    origin = f"hf://{repository}" + (f"@{revision}" if revision else "")
    api = HfApi(endpoint=endpoint)
    try:
        info = api.model_info(repository, revision=revision or None, timeout=TIMEOUT)
        names = [item.rfilename for item in info.siblings or []]
        chosen = choose(names, path, origin=origin)
        api.snapshot_download(
            repository, revision=info.sha, local_dir=into, etag_timeout=TIMEOUT,
            allow_patterns=[_literal(name) for name in chosen],
        )  # fmt: skip
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelNotFound(
            f"{origin}: the Hub has no such model or revision, or it is closed (set HF_TOKEN)"
        ) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise _unreachable(origin, error) from error
    return into / PurePosixPath(path).parent if path else into


def choose(names: Sequence[str], path: str, *, origin: str) -> list[str]:
    """Choose the files of one model: its weights, tokenizer and configuration.

    Exports of the same weights in folders of their own (onnx/, openvino/) stay behind.
    """
    safe = [name for name in names if is_safe(PurePosixPath(name))]
    if path and path not in safe:
        raise ModelNotFound(f"{origin}: there is no {path} in a safe format in the repository")
    weights = [path] if path else _weights(safe, origin)
    others = [
        name
        for name in safe
        if not name.endswith(_WEIGHTS) and PurePosixPath(name).parts[0] not in _EXPORTS
    ]
    return weights + others


def _weights(safe: Sequence[str], origin: str) -> list[str]:
    top = [name for name in safe if "/" not in name and name.endswith(_WEIGHTS)]
    for suffix in _WEIGHTS:
        found = [name for name in top if name.endswith(suffix)]
        if suffix == ".gguf" and len(found) > 1:
            raise AmbiguousModel(
                f"{origin}: several GGUF files, name one of them: {', '.join(sorted(found))}"
            )
        if found:
            return found
    raise UnsafeModel(f"{origin}: no weights as {', '.join(_WEIGHTS)} in the repository")


def _literal(name: str) -> str:
    """Escape a file name for fnmatch, which is what the Hub's client matches with."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _unreachable(origin: str, error: Exception) -> ModelError:
    return FetchFailed(f"{origin}: the Hub could not be reached: {error}")
