"""What the workflow engine asks of the node: run one pod to its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodResult:
    """How a pod ended.

    exit_code: of its one container; None when the container never ran (`reason` says why).
    reason: as a kubelet writes it. `Completed`; `Error` (non-zero exit); `OOMKilled`;
        `DeadlineExceeded` (spec.activeDeadlineSeconds ran out); or, when the container never
        ran, `ErrImageNeverPull`, `CreateContainerConfigError`, `StartError`.
    message: one sentence for a person; empty when the exit code says it all.
    log_path: the file that holds what the container printed; None when it never ran.
    """

    exit_code: int | None
    reason: str
    message: str = ""
    log_path: Path | None = None


class PodRunner(Protocol):
    """Runs pods to completion.  Contract: tests/unit/local/workflows/test_real_processes.py."""

    async def run_once(self, pod: Manifest, *, env_paths: Mapping[str, Path]) -> PodResult:
        """Run the one container of `pod` once and return how it ended; never restart it.

        pod: a v1 Pod with metadata (name, namespace, labels, ownerReferences to the Workflow)
            and spec (one container; restartPolicy Never). Everything in it is final text: no
            `{{...}}` is left. `spec.activeDeadlineSeconds`, when there, is the runner's to keep.
        env_paths: container path -> absolute path on this machine, files of output parameters.
            An argument (or the part of `--flag=value` after the equals sign) or an environment
            value that equals a key is replaced by its path before volume mounts are looked at.
            The parent folders exist; the files do not.

        A pod that cannot start is a PodResult with a reason, not an exception. Cancelling the
        call stops the child (SIGTERM, grace period, SIGKILL) and waits for it before
        CancelledError goes on. The same pod name may be run again after a crash of this process:
        whatever an earlier run left behind (a child, a Pod object) is replaced.
        """
        ...
