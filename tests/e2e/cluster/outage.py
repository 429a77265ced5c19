"""The registry of the test cluster is away for a while; and what of a run it has afterwards."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

from waiting import eventually

from nexus_api.release import ADAPTER_FILES, adapter_digest

from .finetuning import RUN_SECONDS, failures, mlflow, pods, runs_by, status
from .site import PLATFORM, TENANT, Manifest, Site
from .tuning import MODEL

_MLFLOW = "nexus-mlflow"
_NOBODY = "llmops.nexus/nobody"


@contextmanager
def without_mlflow(site: Site) -> Iterator[None]:
    """Have MLflow end and start again on its volume, and nobody reach it before this is over.

    Its start takes as long as a step, and is not waited for: a run goes on meanwhile.
    """
    ours = ("pods", "-n", PLATFORM, "-l", "app.kubernetes.io/component=mlflow")
    try:
        _reached(site, "false")
        _scale(site, 0)
        eventually(lambda: not site.items(*ours), what="the end of MLflow")
        _scale(site, 1)
        yield
    finally:
        _reached(site, None)


def _scale(site: Site, replicas: int) -> None:
    words = ("-n", PLATFORM, f"deployment/{_MLFLOW}", f"--replicas={replicas}")
    site.kubectl("scale", *words)


def _reached(site: Site, value: str | None) -> None:
    """Have the Service ask for a label that no pod has, or for its own pods alone again."""
    patch = json.dumps({"spec": {"selector": {_NOBODY: value}}})
    site.kubectl("patch", "-n", PLATFORM, f"service/{_MLFLOW}", "--type=merge", f"--patch={patch}")


def training(site: Site) -> Manifest:
    """Return the job's last run once it trains, or is further."""
    last: Manifest = status(site).get("lastRun") or {}
    assert last.get("phase") not in {"Succeeded", "Failed", "Error"}, (last, failures(site))
    return last if last.get("step") in {"train", "evaluate"} else {}


def missed(flow: Manifest) -> list[Manifest]:
    """Return the tries of `register` that ended for want of MLflow, the first first."""
    tries = [one for one in pods(flow, "Failed") if one["displayName"].startswith("register(")]
    return [one for one in tries if (one.get("outputs") or {}).get("exitCode") == "75"]


def first_missed(site: Site) -> Manifest:
    """Return the first try of `register`, in the job's first run, once it ended without MLflow."""

    def tried() -> Manifest:
        flow = runs_by(site, "nexus-finetune")[0]
        assert not flow["status"].get("finishedAt"), failures(site)
        return next(iter(missed(flow)), {})

    return eventually(tried, what="a try of `register` without MLflow", seconds=RUN_SECONDS)


def tracked(site: Site) -> list[Manifest]:
    """Return the runs that MLflow has of the job."""
    found = mlflow(site, "experiments/get-by-name", experiment_name=MODEL)["experiment"]
    asked = mlflow(site, "runs/search", {"experiment_ids": [found["experiment_id"]]})
    runs: list[Manifest] = asked.get("runs", [])
    return runs


def versions(site: Site) -> list[Manifest]:
    """Return the versions that MLflow has of the job's model."""
    asked = mlflow(site, "model-versions/search", filter=f"name='{MODEL}'")
    found: list[Manifest] = asked.get("model_versions", [])
    return found


def evaluated_digest(site: Site, run: str) -> str:
    """Return the digest of the adapter that a run evaluated, by what the run left."""
    key = f"finetunes/{TENANT}/tuning/{run}/evaluate/units.json"
    found: str = json.loads(_read(site, "nexus-work", key))["candidate"]["adapterDigest"]
    return found


def stored_digest(site: Site, source: str) -> str:
    """Return the digest of the adapter that lies where a version points to."""
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    listed = site.store().list_objects(bucket, prefix=f"{prefix.rstrip('/')}/")
    keys = {(one.object_name or "").rpartition("/")[2]: one.object_name or "" for one in listed}
    return adapter_digest(
        {
            name: hashlib.sha256(_read(site, bucket, keys[name])).hexdigest()
            for name in ADAPTER_FILES
            if name in keys
        }
    )


def _read(site: Site, bucket: str, key: str) -> bytes:
    with site.store().get_object(bucket, key) as stream:
        return stream.read()
