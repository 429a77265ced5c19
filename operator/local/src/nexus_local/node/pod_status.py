"""The status of a pod, as a kubelet would write it; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from nexus_api.meta import Manifest
from nexus_local.node.ports import HOST
from nexus_local.store.objects import timestamp

_ERROR = "Error"


@dataclass(frozen=True, slots=True)
class Container:
    """What is known of a pod's one container.

    state, last_state: `{"waiting" | "running" | "terminated": {...}}` as in the API.
    """

    state: Mapping[str, Any]
    last_state: Mapping[str, Any]
    restarts: int = 0
    started: bool = False
    ready: bool = False

    def waiting(self, reason: str, message: str = "") -> "Container":
        """Not running, for a reason."""
        detail = {"reason": reason, **({"message": message} if message else {})}
        return replace(self, state={"waiting": detail}, started=False, ready=False)

    def running(self, now: datetime) -> "Container":
        """Just started, not ready yet."""
        state = {"running": {"startedAt": timestamp(now)}}
        return replace(self, state=state, started=False, ready=False)

    def terminated(self, code: int, reason: str, now: datetime, message: str = "") -> "Container":
        """Ended with an exit code."""
        ended = {
            "exitCode": code,
            "reason": reason,
            "startedAt": self.state.get("running", {}).get("startedAt", timestamp(now)),
            "finishedAt": timestamp(now),
            **({"message": message} if message else {}),
        }
        return replace(self, state={"terminated": ended}, started=False, ready=False)

    def held_back(self, delay: float, name: str) -> "Container":
        """Ended, and not started again before `delay` seconds have passed."""
        message = f"back-off {delay:g}s restarting failed container={name}"
        return replace(self, last_state=self.state).waiting("CrashLoopBackOff", message)

    def again(self) -> "Container":
        """About to be started once more."""
        last = self.state if "terminated" in self.state else self.last_state
        more = replace(self, last_state=last, restarts=self.restarts + 1)
        return more.waiting("ContainerCreating")


def first(pod: Manifest, now: datetime) -> Container:
    """Return the state in which a node takes a pod over, maybe from an earlier platform."""
    known = (pod.get("status") or {}).get("containerStatuses") or []
    if not known:
        return Container({"waiting": {"reason": "ContainerCreating"}}, {})
    seen = known[0]
    container = Container(seen["state"], seen.get("lastState") or {}, seen["restartCount"])
    if "running" in container.state:
        message = "the platform on this machine was stopped"
        container = container.terminated(137, _ERROR, now, message)
    ended = phase(container, pod["spec"].get("restartPolicy", "Always")) in {"Succeeded", "Failed"}
    return container if ended else container.again()


def exit_reason(code: int) -> str:
    """Return the reason that goes with an exit code."""
    return "Completed" if code == 0 else _ERROR


def phase(container: Container, restart_policy: str) -> str:
    """Return the phase of the pod of a container."""
    ended = container.state.get("terminated")
    if ended is not None and (
        restart_policy == "Never" or (restart_policy == "OnFailure" and ended["exitCode"] == 0)
    ):
        return "Succeeded" if ended["exitCode"] == 0 else "Failed"
    begun = "running" in container.state or ended is not None or container.last_state
    return "Running" if begun else "Pending"


def status(pod: Manifest, container: Container, now: datetime) -> Manifest:
    """Return the whole status; conditions keep their time while they do not change."""
    spec = pod["spec"]
    before = pod.get("status") or {}
    name, image = spec["containers"][0]["name"], spec["containers"][0]["image"]
    in_phase = phase(container, spec.get("restartPolicy", "Always"))
    not_ready = "" if container.ready else f"containers with unready status: [{name}]"
    conditions = {
        "PodScheduled": (True, "", ""),
        "Initialized": (True, "", ""),
        "ContainersReady": _readiness(in_phase, not_ready),
        "Ready": _readiness(in_phase, not_ready),
    }
    return {
        "phase": in_phase,
        "hostIP": HOST,
        "podIP": HOST,
        "qosClass": "BestEffort",
        "startTime": before.get("startTime") or timestamp(now),
        "conditions": [
            condition(kind, holds, reason, message, before.get("conditions") or (), now)
            for kind, (holds, reason, message) in conditions.items()
        ],
        "containerStatuses": [
            {
                "name": name,
                "image": image,
                "imageID": "",
                "state": dict(container.state),
                "lastState": dict(container.last_state),
                "restartCount": container.restarts,
                "started": container.started,
                "ready": container.ready,
            }
        ],
    }


def _readiness(in_phase: str, not_ready: str) -> tuple[bool, str, str]:
    if not not_ready:
        return True, "", ""
    reason = "PodCompleted" if in_phase == "Succeeded" else "ContainersNotReady"
    return False, reason, not_ready


def condition(
    kind: str, holds: bool, reason: str, message: str, before: Any, now: datetime
) -> Manifest:
    """Return one condition; its transition time is that of the last change of its status."""
    text = "True" if holds else "False"
    same = next((c for c in before if c["type"] == kind and c["status"] == text), None)
    since = same.get("lastTransitionTime") if same else None
    return {
        "type": kind,
        "status": text,
        "lastTransitionTime": since or timestamp(now),
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
    }


def is_ready(pod: Manifest) -> bool:
    """Say whether a pod's Ready condition holds."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def trouble(pod: Manifest) -> str:
    """Return why a pod does not run, as `Reason: message`; empty when it does."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        waiting = container["state"].get("waiting") or {}
        if waiting.get("reason") not in {None, "ContainerCreating"}:
            return ": ".join(filter(None, (waiting["reason"], waiting.get("message", ""))))
    return ""
