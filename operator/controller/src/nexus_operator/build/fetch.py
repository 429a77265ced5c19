"""Init containers that bring weights into the model cache, for engines that only read folders."""

from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.container import (
    TMP,
    credentials,
    environment,
    flags,
    open_places,
    restricted,
)
from nexus_operator.naming import short_hash
from nexus_operator.settings import Settings


def folder(settings: Settings, uri: str, revision: str = "") -> str:
    """Return the folder of the cache in which the weights of an address lie.

    revision: of the address, or the digest of what is there; versions do not share a folder.
    """
    return f"{settings.model_cache.path}/served/{short_hash(uri, revision)}"


def init_containers(model: ServingModel, settings: Settings) -> tuple[Manifest, ...]:
    """Build one init container for the weights and one for each adapter.

    `nexus-pipelines model-fetch` checks digests and puts a folder in place at once, so that a
    second pod, or a second try, finds all of it or nothing.
    """
    adapters = (
        _fetch(settings, f"fetch-adapter-{place}", adapter.uri, "", adapter.digest)
        for place, adapter in enumerate(model.spec.model.adapters)
    )
    return (fetch_weights(model, settings), *adapters)


def fetch_weights(model: ServingModel, settings: Settings) -> Manifest:
    """Build the init container for the weights."""
    source = model.spec.model
    return _fetch(settings, "fetch-model", source.uri, source.revision)


def pipelines_container(
    name: str, args: list[str], settings: Settings, *mounts: Manifest
) -> Manifest:
    """Build an init container that runs one step of `nexus-pipelines`."""
    cache = settings.model_cache.path
    return {
        "name": name,
        "image": settings.images.pipelines,
        "command": ["nexus-pipelines"],
        "args": args,
        "env": environment(
            NEXUS_MODEL_CACHE=cache,
            HOME="/tmp",  # noqa: S108 - an emptyDir of this pod
            **open_places(settings),
        ),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted(),
        "volumeMounts": [*mounts, TMP],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
    }


def _fetch(
    settings: Settings, name: str, uri: str, revision: str, adapter_digest: str = ""
) -> Manifest:
    arguments = [("--uri", uri), ("--to", folder(settings, uri, revision))]
    if revision:
        arguments.append(("--revision", revision))
    if adapter_digest:
        arguments.append(("--adapter-digest", adapter_digest))
    cache = {"name": "models", "mountPath": settings.model_cache.path}
    built = pipelines_container(name, ["model-fetch", *flags(arguments)], settings, cache)
    return {**built, **credentials(settings)}
