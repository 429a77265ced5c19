"""The definitions of the Prometheus operator and the Gateway API, from their Go modules."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from needs import lacking
from testcluster.cache import cached
from testcluster.definitions import without_descriptions

Manifest = dict[str, Any]

_MODULE = Path(__file__).parents[1] / "charts" / "definitions"
_FILES = {
    "github.com/prometheus-operator/prometheus-operator": (
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "sigs.k8s.io/gateway-api": ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
}
_SECONDS = 300


def pod_monitors() -> Manifest:
    """Return the definition of PodMonitors."""
    found = (one for one in foreign_definitions() if one["spec"]["names"]["kind"] == "PodMonitor")
    return next(found)


def foreign_definitions() -> list[Manifest]:
    """Return the definitions, from the cache or by Go."""
    key = hashlib.sha256((_MODULE / "go.sum").read_bytes()).hexdigest()[:16]
    file = cached(key, "foreign-definitions.json", _write)
    items: list[Manifest] = json.loads(file.read_bytes())
    return items


def _write(fresh: Path) -> None:
    go = shutil.which("go")
    if go is None:
        lacking("Go is not installed: https://go.dev/dl")
    items = []
    for module, files in _FILES.items():
        done = subprocess.run(
            [go, "mod", "download", "-json", module],
            cwd=_MODULE,
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        folder = Path(json.loads(done.stdout)["Dir"])
        items += [yaml.load((folder / file).read_bytes(), yaml.CSafeLoader) for file in files]
    fresh.write_text(json.dumps([without_descriptions(one) for one in items]))
