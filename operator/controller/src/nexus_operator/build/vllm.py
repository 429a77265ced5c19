"""The vLLM runtime as a container: the OpenAI server of its own image, on fetched weights."""

from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.container import (
    TMP,
    Runtime,
    environment,
    flags,
    literal,
    probe,
    restricted,
)
from nexus_operator.build.fetch import folder, init_containers
from nexus_operator.settings import ResourceProfile, Settings

PORT = 8000

HOURS_TO_LOAD = 7200
"""Seconds that fetching and loading hundreds of gigabytes may take."""


def runtime(model: ServingModel, settings: Settings, profile: ResourceProfile) -> Runtime:
    """Build the container that serves the model; its probes allow two hours to load it."""
    container: Manifest = {
        "name": "vllm",
        "image": settings.images.vllm,
        "command": ["vllm", "serve"],
        "args": _arguments(model, settings, profile),
        "env": _environment(model),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": probe("/health", period=5, failures=HOURS_TO_LOAD // 5, timeout=5),
        "readinessProbe": probe("/health", period=5, failures=3, timeout=5),
        "livenessProbe": probe("/health", period=15, failures=8, timeout=15),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted(),
        "volumeMounts": [models(settings), TMP, *shared_memory_mounts(profile)],
    }
    resources = profile.resources()
    return Runtime(
        container={**container, "resources": resources} if resources else container,
        init=init_containers(model, settings),
        volumes=shared_memory(profile),
        progress_seconds=HOURS_TO_LOAD,
    )


def models(settings: Settings) -> Manifest:
    """Return the mount by which a server reads the weights that an init container fetched."""
    return {"name": "models", "mountPath": settings.model_cache.path, "readOnly": True}


def shared_memory(profile: ResourceProfile) -> tuple[Manifest, ...]:
    """Return the volume behind /dev/shm; it counts as memory of the container."""
    if not profile.shared_memory:
        return ()
    size = {"medium": "Memory", "sizeLimit": profile.shared_memory}
    return ({"name": "shared-memory", "emptyDir": size},)


def shared_memory_mounts(profile: ResourceProfile) -> tuple[Manifest, ...]:
    """Return the mount of /dev/shm where the profile gives it a size."""
    if not profile.shared_memory:
        return ()
    return ({"name": "shared-memory", "mountPath": "/dev/shm"},)  # noqa: S108 - of this pod


def offline() -> dict[str, str]:
    """Return the environment of a server that reads fetched files and calls nobody."""
    return {
        # Compilers write their caches; the user has no entry in the image's passwd file.
        "HOME": "/tmp",  # noqa: S108 - an emptyDir of this pod
        "USER": "nexus",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }


def _arguments(model: ServingModel, settings: Settings, profile: ResourceProfile) -> list[str]:
    spec = model.spec
    named = {
        "--served-model-name": model.metadata.name,
        "--host": "0.0.0.0",  # noqa: S104 - a pod has its own address
        "--port": str(PORT),
        "--dtype": "auto",
        "--max-model-len": str(spec.runtime.context_tokens),
        "--max-num-seqs": str(spec.runtime.slots),
        "--tensor-parallel-size": str(max(1, profile.gpus())),
    }
    weights = folder(settings, spec.model.uri, spec.model.revision)
    return [weights, *flags(named.items()), *_lora(model, settings)]


def _lora(model: ServingModel, settings: Settings) -> list[str]:
    adapters = model.spec.model.adapters
    if not adapters:
        return []
    room = {
        "--max-lora-rank": str(_room(model.spec.runtime.max_lora_rank)),
        "--max-loras": str(len(adapters)),
    }
    modules = [literal(f"{one.name}={folder(settings, one.uri)}") for one in adapters]
    return ["--enable-lora", *flags(room.items()), "--lora-modules", *modules]


def _environment(model: ServingModel) -> list[Manifest]:
    variables = offline()
    if model.spec.model.adapters:
        # Adapters come and go without a restart; only the gateway can reach the routes for it.
        variables["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    return environment(**variables)


def _room(rank: int) -> int:
    """Return the smallest rank that vLLM makes room for and that holds this one."""
    return max(8, 1 << (rank - 1).bit_length())
