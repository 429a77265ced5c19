"""The test cluster from the command line: `python tests/cluster/cluster.py up`."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from testcluster import addons, daemons, leftovers, network
from testcluster.binaries import BinaryMissing, binary
from testcluster.cluster import Cluster
from testcluster.config import ClusterConfig
from testcluster.errors import ClusterError
from testcluster.programs import NAMES


def main() -> int:
    """Do what the first argument says; 1 when it fails, with the reason on standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, (action, text) in _ACTIONS.items():
        chosen = actions.add_parser(name, help=text)
        chosen.set_defaults(action=action)
        if name == "build":
            chosen.add_argument("programs", nargs="*", choices=[*NAMES, []], metavar="PROGRAM")
        if name == "down":
            chosen.add_argument("--force", action="store_true", help="even while it is in use")
        if name == "run":
            chosen.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD")
    given = parser.parse_args()
    try:
        status: int = given.action(given)
    except (ClusterError, BinaryMissing) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return status


def _build(given: argparse.Namespace) -> int:
    for name in given.programs or NAMES:
        began = time.monotonic()
        path = binary(name)
        sys.stdout.write(f"{path} ({time.monotonic() - began:.1f} s)\n")
        sys.stdout.flush()
    if not given.programs:
        addons.build(ClusterConfig())
    return 0


def _up(given: argparse.Namespace) -> int:
    cluster = Cluster()
    if cluster.is_up():
        sys.stdout.write("a cluster is up already\n")
        return 0
    began = time.monotonic()
    cluster.up()
    sys.stdout.write(f"up in {time.monotonic() - began:.1f} s\n")
    return 0


def _down(given: argparse.Namespace) -> int:
    began = time.monotonic()
    Cluster().down(force=given.force)
    sys.stdout.write(f"down in {time.monotonic() - began:.1f} s\n")
    return 0


def _status(given: argparse.Namespace) -> int:
    cluster = Cluster()
    if not cluster.is_up():
        left = leftovers.found(cluster.config)
        sys.stdout.write(f"down; left behind: {', '.join(left)}\n" if left else "down\n")
        return 1
    for name, pid in daemons.running(cluster.config).items():
        sys.stdout.write(f"{name:26} {pid}\n")
    sys.stdout.write(cluster.kubectl("get", "nodes,pods", "--all-namespaces", "--output=wide"))
    return 0


def _run(given: argparse.Namespace) -> int:
    cluster = Cluster()
    command = [word for i, word in enumerate(given.command) if i or word != "--"]
    if not command:
        sys.stderr.write("run what?  `cluster.py run -- kubectl get pods`\n")
        return 2
    if not cluster.is_up():
        sys.stderr.write("the cluster is down: `python tests/cluster/cluster.py up`\n")
        return 1
    inside = network.inside(cluster.config, command)
    return subprocess.run(inside, check=False, env=cluster.environment()).returncode


_ACTIONS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "build": (_build, "build the programs, all or those named"),
    "up": (_up, "start a cluster that stays"),
    "down": (_down, "remove it, also after a crash"),
    "status": (_status, "what runs, or what was left behind"),
    "run": (_run, "run a command inside its network with KUBECONFIG set"),
}

if __name__ == "__main__":
    sys.exit(main())
