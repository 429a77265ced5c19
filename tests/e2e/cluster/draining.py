"""A training on the test cluster whose pod goes, as from a node that is drained."""

import json
import re

from waiting import eventually

from .finetuning import RUN_SECONDS, failures
from .site import PLATFORM, TENANT, Manifest, Site

_NODE = "workflows.argoproj.io/node-name"
_GOES_ON = re.compile(r"going on after step (\d+) of \d+")
_TAKES_STEPS = "progress step="


def training(site: Site, run: str) -> Manifest:
    """Return the pod of `train` that takes steps; nothing until there is one."""
    pods = site.items("pods", "-n", PLATFORM, "-l", f"workflows.argoproj.io/workflow={run}")
    tries = [one for one in pods if _node(one).startswith(f"{run}.train(")]
    return next((one for one in tries if _runs(one) and _TAKES_STEPS in _said(site, one)), {})


def drained(site: Site, run: str) -> str:
    """Delete the training's pod with the grace that a drain gives; returns its uid."""
    pod = eventually(lambda: training(site, run), what="a training that takes steps")["metadata"]
    site.kubectl("delete", "pod", "-n", PLATFORM, pod["name"])
    return str(pod["uid"])


def went_on(site: Site, run: str, instead_of: str) -> int:
    """Return after which step another pod went on, once it takes steps; 0: it began anew."""

    def another() -> Manifest:
        flow = site.get("workflow", run, PLATFORM)
        assert not flow["status"].get("finishedAt"), failures(site)
        pod = training(site, run)
        return pod if pod and pod["metadata"]["uid"] != instead_of else {}

    pod = eventually(another, what="a training that goes on", seconds=RUN_SECONDS, pause=1)
    found = _GOES_ON.search(_said(site, pod))
    return int(found[1]) if found else 0


def checkpoint(site: Site, job: str, run: str) -> int:
    """Return after how many steps the run's checkpoint in the work store was taken."""
    key = f"finetunes/{TENANT}/{job}/{run}/train/checkpoints/state.safetensors"
    with site.store().get_object("nexus-work", key) as kept:
        size = int.from_bytes(kept.read(8), "little")  # of the header, which comes first
        header = json.loads(kept.read(size))
    steps: int = json.loads(header["__metadata__"]["nexus"])["standing"]["steps"]
    return steps


def _node(pod: Manifest) -> str:
    return str(pod["metadata"].get("annotations", {}).get(_NODE, ""))


def _runs(pod: Manifest) -> bool:
    told = pod["status"].get("containerStatuses") or ()
    return any(one["name"] == "main" and "running" in one["state"] for one in told)


def _said(site: Site, pod: Manifest) -> str:
    return site.kubectl("logs", "-n", PLATFORM, pod["metadata"]["name"], "-c", "main")
