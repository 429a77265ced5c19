"""The vLLM runtime as a container: the OpenAI server of its own image, on fetched weights.

Which adapters it has is no part of the pod, only how many it has room for.
"""

from nexus_api import first_answer, vllm_command
from nexus_api.meta import Manifest
from nexus_api.servingmodel import ServingModel
from nexus_api.vllm_command import OFFLINE, PROGRAM, RUNTIME_LOADING
from nexus_operator.build.container import (
    METRICS_PORT,
    TMP,
    Runtime,
    environment,
    flags,
    metrics_port,
    probe,
    restricted,
)
from nexus_operator.build.fetch import fetch_weights, folder, pipelines_container
from nexus_operator.build.loading import loader, wanted_volume
from nexus_operator.settings import ResourceProfile, Settings

PORT = 8000

HOURS_TO_LOAD = 7200
"""Seconds that fetching and loading hundreds of gigabytes may take."""

_RELAY = "relay-metrics"

DRAIN_SECONDS = 100
"""Told to end, vLLM refuses what comes on a kept connection; gateways use one for 90 s at most."""

ANSWER_SECONDS = 300
"""How long what vLLM has begun may take then: as long as a gateway waits for an answer."""


def runtime(model: ServingModel, settings: Settings, profile: ResourceProfile) -> Runtime:
    """Build the container that serves the model; its probes allow two hours to load it."""
    adapted = bool(model.spec.model.adapters)
    container: Manifest = {
        "name": "vllm",
        "image": settings.images.vllm,
        "command": list(PROGRAM),
        "args": _arguments(model, settings, profile),
        "env": environment(**offline(), **(RUNTIME_LOADING if adapted else {})),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": first_answer_probe(
            first_answer.probe_command(first_answer.OPENAI, PORT, model.metadata.name)
        ),
        "readinessProbe": probe("/health", period=5, failures=3, timeout=5),
        "livenessProbe": probe("/health", period=15, failures=8, timeout=15),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": restricted(),
        "volumeMounts": [models(settings), TMP, *shared_memory_mounts(profile)],
    }
    resources = profile.resources()
    return Runtime(
        container={**container, "resources": resources} if resources else container,
        init=(
            fetch_weights(model, settings),
            *((loader(model, settings, PORT),) if adapted else ()),
            *((metrics_relay(settings),) if settings.scrape else ()),
        ),
        volumes=(*((wanted_volume(model),) if adapted else ()), *shared_memory(profile)),
        progress_seconds=HOURS_TO_LOAD,
        drain_seconds=DRAIN_SECONDS,
        answered=answered(),
        end_seconds=ANSWER_SECONDS + 30,
    )


def metrics_relay(settings: Settings) -> Manifest:
    """Build the container that tells the server's metrics on a port of their own.

    On the server's port there are questions, and orders to load adapters, which are for the gateway
    alone.  It is an init container that goes on (Kubernetes 1.29).
    """
    arguments = {"--server-port": str(PORT), "--port": str(METRICS_PORT)}
    built = pipelines_container(_RELAY, [_RELAY, *flags(arguments.items())], settings)
    return {
        **built,
        "restartPolicy": "Always",
        "ports": [metrics_port()],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }


def first_answer_probe(command: list[str], answers: int = 1) -> Manifest:
    """Return the startup probe that asks a server `answers` first questions once it is healthy.

    A kubelet runs it until it has succeeded once.  A server that does not answer as it should is
    told to end by it, and the reason becomes the last words of the container.
    """
    seconds = first_answer.TRIES * (first_answer.ANSWER_SECONDS + first_answer.PAUSE_SECONDS)
    return {
        "exec": {"command": command},
        "periodSeconds": 5,
        "failureThreshold": HOURS_TO_LOAD // 5,
        "timeoutSeconds": int(answers * seconds) + 60,
    }


def answered(port: int = PORT, seconds: int = ANSWER_SECONDS) -> str:
    """Return a shell command that ends once the server computes nothing, or after `seconds`.

    Told to end, vLLM goes on with what its engine computes. What is still on the way there is
    neither answered nor refused once the engine has ended, and the server then waits for its answer
    without end (v1/engine/core.py: run_busy_loop).  So it is told when there is nothing; a server
    that has no time to tell its numbers has something.
    """
    program = f"""
import time, urllib.request
end = time.monotonic() + {seconds}
def busy():
    try:
        with urllib.request.urlopen("http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError as error:
        return not isinstance(getattr(error, "reason", error), ConnectionRefusedError)
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
    return any(float(line.split()[-1]) for line in lines if line.startswith(names))
while time.monotonic() < end and busy():
    time.sleep(1)
"""
    return f"python3 -c '{program}'"


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
        **OFFLINE,
    }


def _arguments(model: ServingModel, settings: Settings, profile: ResourceProfile) -> list[str]:
    source, runtime = model.spec.model, model.spec.runtime
    served = vllm_command.served(
        name=model.metadata.name,
        host="0.0.0.0",  # noqa: S104 - a pod has its own address
        port=PORT,
        context_tokens=runtime.context_tokens,
        slots=runtime.slots,
        gpus=profile.gpus(),
    )
    served["--shutdown-timeout"] = str(ANSWER_SECONDS)
    room = len(source.adapters)
    lora = vllm_command.loading(room, runtime.max_lora_rank) if room else []
    weights = folder(settings, source.uri, source.revision)
    return [weights, *flags(served.items()), *lora]
