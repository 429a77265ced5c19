"""Writes owners with children, one pair after another, and says so; the test kills it."""

import asyncio
import sys
from pathlib import Path

from nexus_local.store.local import LocalCluster
from nexus_operator.cluster.protocol import Ref


async def main() -> None:
    cluster = LocalCluster(Path(sys.argv[1]))
    done = int(sys.argv[2])
    while True:
        done += 1
        name = f"owner-{done}"
        meta = {"name": name, "namespace": "default"}
        owner = await cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
        uid = owner["metadata"]["uid"]
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}
        for part in ("x", "y"):
            child = {"name": f"{name}-{part}", "ownerReferences": [reference]}
            await cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": child})
        print("made", done, flush=True)  # noqa: T201 - the test reads it
        if done % 3 == 0:
            await cluster.delete(Ref("v1", "ConfigMap", "default", name))
            print("deleted", done, flush=True)  # noqa: T201 - the test reads it


asyncio.run(main())
